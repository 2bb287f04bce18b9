// spool: files without a name, for bytes that are too many for memory and are needed again soon.
//
// All is asynchronous: a file is told to append or to read, and its owner hears how that went.
// Answers come from the loop, never from within a call, in the order of what was asked.
// Implementations: daemon::WorkerSpool (one thread that may block, for all workers);
//                  test/support/sim_spool.
// Thread:   its loop's: each worker has its own.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "lb/base/bytes.h"

namespace postern::io {

enum class SpoolFault : uint8_t {
  kFull,  // all files together hold as much as they may, or too much waits for the disk
  kDisk,  // the system says no
};

// One file. Destroyed: its bytes are gone, and nothing more is told.
class SpoolFile {
 public:
  class Observer {
   public:
    // Of all that was appended so far, this much can be read.
    virtual void OnSpoolStored(uint64_t total_bytes) = 0;
    // The answer to Read: at least one byte, perhaps fewer than were asked for; valid until return.
    virtual void OnSpoolRead(base::ByteView bytes) = 0;
    // The last that is told; what was stored is lost as well.
    virtual void OnSpoolFailed(SpoolFault fault) = 0;

   protected:
    ~Observer() = default;
  };

  virtual ~SpoolFile() = default;
  // Copied. Bytes that wait for the disk are bounded for the whole process: beyond, the file fails.
  virtual void Append(base::ByteView bytes) = 0;
  // One at a time; the range was appended.
  virtual void Read(uint64_t offset_bytes, size_t num_bytes) = 0;
};

class Spool {
 public:
  virtual ~Spool() = default;
  // A new file, made with its first bytes. The observer outlives it.
  [[nodiscard]] virtual std::unique_ptr<SpoolFile> Open(SpoolFile::Observer& observer) = 0;
  // How many bytes of one file may wait for the disk before its owner should bring no more; zero
  // while all files together have too many.
  [[nodiscard]] virtual size_t Window() const = 0;
  // Would a file take so much more, as far as can be known? False near the end of what all may
  // hold, and for a while after one has failed.
  [[nodiscard]] virtual bool HasRoom(size_t num_bytes) const = 0;
};

}  // namespace postern::io
