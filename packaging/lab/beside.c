// beside: lets a Dovecot that was unpacked beside the system find its modules.
//
// Dovecot has the folder of its modules and the path of doveconf compiled in. Preloaded into its
// processes, this turns each of these into the same path below $POSTERN_LAB_ROOT, so that nothing
// has to be installed and a Dovecot that the machine already has is neither used nor touched.
// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char kPrefix[] = "/usr/lib/dovecot/";
static const char kDoveconf[] = "/usr/bin/doveconf";

static const char* Beside(const char* path, char* buffer, size_t size) {
  const char* root = getenv("POSTERN_LAB_ROOT");
  if (path == NULL || root == NULL) return path;
  if (strncmp(path, kPrefix, sizeof(kPrefix) - 1) != 0 && strcmp(path, kDoveconf) != 0) return path;
  const int length = snprintf(buffer, size, "%s%s", root, path);
  return length > 0 && (size_t)length < size ? buffer : path;
}

DIR* opendir(const char* path) {
  DIR* (*next)(const char*) = (DIR * (*)(const char*)) dlsym(RTLD_NEXT, "opendir");
  char buffer[4096];
  return next(Beside(path, buffer, sizeof(buffer)));
}

void* dlopen(const char* path, int flags) {
  void* (*next)(const char*, int) = (void* (*)(const char*, int))dlsym(RTLD_NEXT, "dlopen");
  char buffer[4096];
  return next(Beside(path, buffer, sizeof(buffer)), flags);
}

int execv(const char* path, char* const arguments[]) {
  int (*next)(const char*, char* const[]) =
      (int (*)(const char*, char* const[]))dlsym(RTLD_NEXT, "execv");
  char buffer[4096];
  return next(Beside(path, buffer, sizeof(buffer)), arguments);
}
