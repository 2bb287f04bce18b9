// map_reader: the rows of a directory's map file, one at a time.
//
// Rules:    a row is two words, key and answer, parted by blanks or tabs; '#' at the beginning of a
//           word starts a comment. Words are UTF-8 without control characters: user names are so on
//           the wire (RFC 4616 2, RFC 6532 3.1), and other bytes would be a row that never matches.
//           CR before the end of a line and a byte order mark at the beginning are passed over.
// Limits:   a line of kMaxLineBytes, kMaxFaults faults kept, a file of kMaxMapFileBytes.
// Tests:    test/conf/map_reader_test.cc, test/fuzz/file_map_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern::conf {

struct MapFault {
  int line = 0;  // 0: of the whole file
  std::string message;
};

class MapReader {
 public:
  static constexpr size_t kMaxLineBytes = 4096;
  static constexpr size_t kMaxFaults = 20;

  // Both words live as long as the call; line counts from 1. May call Complain.
  using OnRow = std::function<void(std::string_view key, std::string_view answer, int line)>;
  explicit MapReader(OnRow on_row) : on_row_(std::move(on_row)) {}

  // The text in pieces of any size, then its end.
  void Feed(std::string_view bytes);
  void End();
  // Adds a fault, if there are not too many of them.
  void Complain(int line, std::string message);

  [[nodiscard]] const std::vector<MapFault>& faults() const { return faults_; }
  [[nodiscard]] size_t num_faults() const { return num_faults_; }  // those not kept, too

 private:
  void Take(std::string_view line);
  void Hold(std::string_view piece);

  OnRow on_row_;
  std::string pending_;  // the beginning of a line
  int line_ = 0;
  std::vector<MapFault> faults_;
  size_t num_faults_ = 0;
};

// What tells one state of a file from another, also after another was renamed to its name.
struct FileStamp {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t size_bytes = 0;
  int64_t modified_ns = 0;
  int64_t changed_ns = 0;  // of the inode: a time of writing can be set back
  bool operator==(const FileStamp&) const = default;
};
// Of what is there now; nothing: no regular file can be seen.
[[nodiscard]] std::optional<FileStamp> StampOf(const std::string& path);

// Far more than the millions of rows that are promised; a file by mistake (a log, a disk) is not
// read into memory.
inline constexpr size_t kMaxMapFileBytes = size_t{512} << 20;

// Feeds the file to the reader up to its end. Whoever wants to know of later changes compares the
// stamp of what was read with StampOf. A file that is renamed away meanwhile is read as it was; one
// that was written to meanwhile is a fault, since its rows may be of two states. So is one at which
// `stop`, looked at every few milliseconds, is found to be true. Blocks: not for a worker's thread.
FileStamp ReadMapFile(const std::string& path, MapReader& reader,
                      size_t max_bytes = kMaxMapFileBytes, const std::atomic<bool>* stop = nullptr);

}  // namespace postern::conf
