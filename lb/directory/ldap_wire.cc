// ldap_wire: frames, written and read.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/ldap_wire.h"

#include <cstring>
#include <string_view>
#include <utility>

namespace postern::directory {
namespace {

constexpr size_t kSizeBytes = 4;
// Changes with the form of any frame: postern may have been replaced while it runs.
constexpr uint8_t kVersion = 1;
constexpr uint8_t kSettings = 'S';
constexpr uint8_t kQuestion = 'Q';
constexpr uint8_t kReply = 'R';

void AppendNumber(std::string& out, uint64_t number, size_t num_bytes) {
  for (size_t i = num_bytes; i-- > 0;) out += static_cast<char>(number >> (8 * i) & 0xff);
}

class Writer {
 public:
  explicit Writer(uint8_t kind) : bytes_(kSizeBytes, '\0') { Number(kind, 1); }
  void Number(uint64_t number, size_t num_bytes) { AppendNumber(bytes_, number, num_bytes); }
  void Text(std::string_view text) {
    Number(text.size(), kSizeBytes);
    if (bytes_.capacity() - bytes_.size() < text.size()) Grow(text.size());
    bytes_ += text;
  }
  std::string Frame() {
    std::string size;
    AppendNumber(size, bytes_.size() - kSizeBytes, kSizeBytes);
    bytes_.replace(0, kSizeBytes, size);
    return std::move(bytes_);
  }

 private:
  // What a string leaves behind when it moves is not wiped.
  void Grow(size_t num_bytes) {
    std::string larger;
    larger.reserve(2 * (bytes_.size() + num_bytes) + 64);
    larger = bytes_;
    base::WipeString(bytes_);
    bytes_ = std::move(larger);
  }
  std::string bytes_;
};

class Reader {
 public:
  Reader(base::ByteView bytes, uint8_t kind) : bytes_(bytes) { is_good_ = Number(1) == kind; }
  uint64_t Number(size_t num_bytes) {
    uint64_t number = 0;
    for (const char c : Take(num_bytes)) number = number << 8 | static_cast<unsigned char>(c);
    return number;
  }
  std::string_view Text() { return Take(Number(kSizeBytes)); }
  // All of it was as it should be, and nothing is left.
  [[nodiscard]] bool IsDone() const { return is_good_ && bytes_.empty(); }
  [[nodiscard]] bool is_good() const { return is_good_; }
  void Fail() { is_good_ = false; }

 private:
  std::string_view Take(uint64_t num_bytes) {
    if (!is_good_ || num_bytes > bytes_.size()) {
      is_good_ = false;
      return {};
    }
    const std::string_view taken = bytes_.substr(0, num_bytes);
    bytes_.remove_prefix(num_bytes);
    return taken;
  }
  base::ByteView bytes_;
  bool is_good_ = true;
};

}  // namespace

std::string ToFrame(const LdapSettings& settings) {
  Writer out(kSettings);
  out.Number(kVersion, 1);
  out.Number(static_cast<uint64_t>(settings.timeout.count()), 4);
  out.Number(settings.starttls ? 1 : 0, 1);
  out.Number(settings.urls.size(), 1);
  for (const std::string& url : settings.urls) out.Text(url);
  out.Text(settings.ca);
  out.Text(settings.bind_dn);
  out.Text(settings.base);
  out.Text(settings.attribute);
  out.Text(settings.bind_password.Reveal());
  return out.Frame();
}

std::string ToFrame(const LdapQuestion& question) {
  Writer out(kQuestion);
  out.Number(question.id, 8);
  out.Text(question.filter);
  return out.Frame();
}

std::string ToFrame(const LdapReply& reply) {
  Writer out(kReply);
  out.Number(reply.id, 8);
  out.Number(static_cast<uint64_t>(reply.kind), 1);
  out.Text(reply.text);
  return out.Frame();
}

std::optional<LdapSettings> ParseLdapSettings(base::ByteView content) {
  Reader in(content, kSettings);
  if (in.Number(1) != kVersion) return std::nullopt;
  LdapSettings settings;
  settings.timeout = std::chrono::milliseconds(in.Number(4));
  const uint64_t starttls = in.Number(1);
  settings.starttls = starttls == 1;
  if (starttls > 1) in.Fail();
  const uint64_t num_urls = in.Number(1);
  for (uint64_t i = 0; i < num_urls && in.is_good(); ++i) settings.urls.emplace_back(in.Text());
  settings.ca = in.Text();
  settings.bind_dn = in.Text();
  settings.base = in.Text();
  settings.attribute = in.Text();
  settings.bind_password = base::Secret(in.Text());
  if (!in.IsDone() || settings.urls.empty()) return std::nullopt;
  return settings;
}

std::optional<LdapQuestion> ParseLdapQuestion(base::ByteView content) {
  Reader in(content, kQuestion);
  LdapQuestion question;
  question.id = in.Number(8);
  question.filter = in.Text();
  if (!in.IsDone()) return std::nullopt;
  return question;
}

std::optional<LdapReply> ParseLdapReply(base::ByteView content) {
  Reader in(content, kReply);
  LdapReply reply;
  reply.id = in.Number(8);
  const uint64_t kind = in.Number(1);
  if (kind > static_cast<uint64_t>(LdapReply::Kind::kNoServer)) return std::nullopt;
  reply.kind = static_cast<LdapReply::Kind>(kind);
  reply.text = in.Text();
  if (!in.IsDone()) return std::nullopt;
  return reply;
}

LdapFrames::~LdapFrames() {
  base::WipeString(bytes_);
}

void LdapFrames::Feed(base::ByteView input) {
  if (is_broken_ || input.empty()) return;
  std::string all;
  all.reserve(bytes_.size() - start_ + input.size());
  all.append(bytes_, start_).append(input);
  base::WipeString(bytes_);
  bytes_ = std::move(all);
  start_ = 0;
}

std::optional<base::ByteView> LdapFrames::Next() {
  const base::ByteView waiting = base::ByteView(bytes_).substr(start_);
  if (is_broken_ || waiting.size() < kSizeBytes) return std::nullopt;
  uint64_t size_bytes = 0;
  for (size_t i = 0; i < kSizeBytes; ++i)
    size_bytes = size_bytes << 8 | static_cast<unsigned char>(waiting[i]);
  if (size_bytes == 0 || size_bytes > kMaxFrameBytes) {
    is_broken_ = true;
    return std::nullopt;
  }
  if (waiting.size() - kSizeBytes < size_bytes) return std::nullopt;
  start_ += kSizeBytes + size_bytes;
  return waiting.substr(kSizeBytes, size_bytes);
}

}  // namespace postern::directory
