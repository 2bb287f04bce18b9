// client_hello: records, the message in them, the name in that.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/client_hello.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace postern::proto {
namespace {

using base::ByteView;
using Status = ClientHelloReader::Status;

constexpr unsigned kHandshakeRecord = 22, kMajorVersion = 3, kClientHello = 1;
constexpr unsigned kServerName = 0, kHostName = 0;
constexpr size_t kRecordHeaderBytes = 5, kMessageHeaderBytes = 4;
constexpr size_t kMaxFragmentBytes = 1 << 14;
constexpr size_t kMaxNameBytes = 255;

unsigned Byte(ByteView bytes, size_t at) {
  return static_cast<unsigned char>(bytes[at]);
}

// Takes values from the front; nothing where there are not enough bytes.
class Cursor {
 public:
  explicit Cursor(ByteView bytes) : rest_(bytes) {}
  [[nodiscard]] bool is_empty() const { return rest_.empty(); }

  std::optional<ByteView> Take(size_t num_bytes) {
    if (rest_.size() < num_bytes) return std::nullopt;
    const ByteView taken = rest_.substr(0, num_bytes);
    rest_.remove_prefix(num_bytes);
    return taken;
  }
  // Big-endian.
  std::optional<size_t> Number(size_t num_bytes) {
    const std::optional<ByteView> bytes = Take(num_bytes);
    if (!bytes) return std::nullopt;
    size_t value = 0;
    for (size_t i = 0; i < num_bytes; ++i) value = value << 8 | Byte(*bytes, i);
    return value;
  }
  // A vector whose size stands before it, in so many bytes.
  std::optional<ByteView> Vector(size_t size_bytes) {
    const std::optional<size_t> size = Number(size_bytes);
    if (!size) return std::nullopt;
    return Take(*size);
  }

 private:
  ByteView rest_;
};

// Letters, digits, hyphens, dots, and the underscore that names of services have. Labels are not
// looked at: what matches no rule goes nowhere.
bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

// The one name of the extension; nothing: there is none that can be trusted.
std::optional<std::string> NameIn(ByteView extension) {
  Cursor outer(extension);
  const std::optional<ByteView> list = outer.Vector(2);
  if (!list || !outer.is_empty()) return std::nullopt;
  Cursor cursor(*list);
  if (cursor.Number(1) != kHostName) return std::nullopt;
  const std::optional<ByteView> sent = cursor.Vector(2);
  if (!sent || !cursor.is_empty() || sent->empty() || sent->size() > kMaxNameBytes)
    return std::nullopt;
  std::string name = base::ToLower(*sent);
  if (!std::all_of(name.begin(), name.end(), IsNameCharacter)) return std::nullopt;
  return name;
}

// Nothing: invalid. Empty: no name was sent.
std::optional<std::string> NameInExtensions(ByteView extensions) {
  std::string name;
  bool is_seen = false;
  Cursor cursor(extensions);
  while (!cursor.is_empty()) {
    const std::optional<size_t> type = cursor.Number(2);
    const std::optional<ByteView> body = cursor.Vector(2);
    if (!type || !body) return std::nullopt;
    if (*type != kServerName) continue;
    std::optional<std::string> found = NameIn(*body);
    if (is_seen || !found) return std::nullopt;
    is_seen = true;
    name = std::move(*found);
  }
  return name;
}

std::optional<std::string> NameInHello(ByteView body) {
  Cursor cursor(body);
  if (!cursor.Take(2 + 32)) return std::nullopt;  // version, random
  const std::optional<ByteView> session = cursor.Vector(1);
  if (!session || session->size() > 32) return std::nullopt;
  const std::optional<ByteView> ciphers = cursor.Vector(2);
  if (!ciphers || ciphers->empty() || ciphers->size() % 2 != 0) return std::nullopt;
  const std::optional<ByteView> compressions = cursor.Vector(1);
  if (!compressions || compressions->empty()) return std::nullopt;
  if (cursor.is_empty()) return "";  // before TLS 1.3 they may be missing
  const std::optional<ByteView> extensions = cursor.Vector(2);
  if (!extensions || !cursor.is_empty()) return std::nullopt;
  return NameInExtensions(*extensions);
}

// By the first bytes of all; kNeedMore: nothing speaks against TLS.
Status Guess(ByteView input) {
  if (input.empty()) return Status::kNeedMore;
  if ((Byte(input, 0) & 0x80) != 0) {
    // Two bytes of length with the first bit set, CLIENT-HELLO.
    if (input.size() < 3) return Status::kNeedMore;
    return Byte(input, 2) == kClientHello ? Status::kSslV2 : Status::kNotTls;
  }
  if (Byte(input, 0) != kHandshakeRecord) return Status::kNotTls;
  if (input.size() > 1 && Byte(input, 1) != kMajorVersion) return Status::kNotTls;
  return Status::kNeedMore;
}

}  // namespace

Status ClientHelloReader::Read(ByteView input) {
  if (status_ != Status::kNeedMore) return status_;
  // No verdict may hang on how much came at once.
  const ByteView window = input.substr(0, kMaxClientHelloBytes);
  status_ = num_read_bytes_ == 0 ? Guess(window) : Status::kNeedMore;
  if (status_ == Status::kNeedMore) status_ = GoOn(window);
  if (status_ == Status::kNeedMore && window.size() == kMaxClientHelloBytes)
    status_ = Status::kTooLong;
  if (status_ != Status::kNeedMore) message_ = {};
  return status_;
}

Status ClientHelloReader::GoOn(ByteView input) {
  while (num_read_bytes_ < input.size()) {
    const ByteView rest = input.substr(num_read_bytes_);
    if (record_left_bytes_ > 0) {
      const ByteView fragment = rest.substr(0, record_left_bytes_);
      num_read_bytes_ += fragment.size();
      record_left_bytes_ -= fragment.size();
      if (const Status status = TakeFragment(fragment); status != Status::kNeedMore) return status;
      continue;
    }
    if (rest.size() < kRecordHeaderBytes) return Status::kNeedMore;
    if (Byte(rest, 0) != kHandshakeRecord || Byte(rest, 1) != kMajorVersion)
      return Status::kInvalid;  // of a later record; Guess has seen the first
    const size_t size = Byte(rest, 3) << 8 | Byte(rest, 4);
    if (size == 0 || size > kMaxFragmentBytes) return Status::kInvalid;
    record_left_bytes_ = size;
    num_read_bytes_ += kRecordHeaderBytes;
  }
  return Status::kNeedMore;
}

Status ClientHelloReader::TakeFragment(ByteView fragment) {
  message_ += fragment;
  if (Byte(message_, 0) != kClientHello) return Status::kInvalid;
  if (message_.size() < kMessageHeaderBytes) return Status::kNeedMore;
  if (message_size_bytes_ == 0) {
    message_size_bytes_ = kMessageHeaderBytes +
                          (Byte(message_, 1) << 16 | Byte(message_, 2) << 8 | Byte(message_, 3));
    if (message_size_bytes_ + kRecordHeaderBytes > kMaxClientHelloBytes) return Status::kTooLong;
  }
  if (message_.size() < message_size_bytes_) return Status::kNeedMore;
  std::optional<std::string> name = NameInHello(
      ByteView(message_).substr(kMessageHeaderBytes, message_size_bytes_ - kMessageHeaderBytes));
  if (!name) return Status::kInvalid;
  server_name_ = std::move(*name);
  return Status::kDone;
}

std::string_view Name(Status status) {
  switch (status) {
    case Status::kNeedMore:
    case Status::kDone:
      return "";
    case Status::kNotTls:
      return "not TLS";
    case Status::kSslV2:
      return "a hello of SSL 2.0";
    case Status::kTooLong:
      return "ClientHello too long";
    case Status::kInvalid:
      return "invalid ClientHello";
  }
  return "";
}

}  // namespace postern::proto
