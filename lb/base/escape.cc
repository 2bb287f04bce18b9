// escape: UTF-8 is checked as RFC 3629 has it; whatever could steer a terminal is spelt out.
// SPDX-License-Identifier: Apache-2.0
#include "lb/base/escape.h"

#include <cstdint>

namespace postern::base {
namespace {

constexpr char kHex[] = "0123456789abcdef";

struct Rune {
  uint32_t code = 0;
  size_t size_bytes = 0;  // 0: no valid character starts here
};

// The character at the front of bytes, which are not empty: no overlong forms, no surrogates,
// nothing above U+10FFFF.
Rune FirstRune(ByteView bytes) {
  const auto lead = static_cast<unsigned char>(bytes[0]);
  if (lead < 0x80) return {lead, 1};
  size_t size = 0;
  uint32_t code = 0;
  uint32_t least = 0;
  if (lead >= 0xc2 && lead <= 0xdf) {
    size = 2, code = lead & 0x1f, least = 0x80;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    size = 3, code = lead & 0x0f, least = 0x800;
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    size = 4, code = lead & 0x07, least = 0x10000;
  } else {
    return {};
  }
  if (bytes.size() < size) return {};
  for (size_t i = 1; i < size; ++i) {
    const auto next = static_cast<unsigned char>(bytes[i]);
    if ((next & 0xc0) != 0x80) return {};
    code = code << 6 | (next & 0x3f);
  }
  if (code < least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return {};
  return {code, size};
}

// Characters that move the cursor, end the line or turn the direction of writing.
bool IsControl(uint32_t code) {
  return code < 0x20 || (code >= 0x7f && code <= 0x9f) || (code >= 0x2028 && code <= 0x202e) ||
         (code >= 0x2066 && code <= 0x2069);
}

void AppendHexByte(std::string& out, char byte) {
  const auto value = static_cast<unsigned char>(byte);
  out += "\\x";
  out.push_back(kHex[value >> 4]);
  out.push_back(kHex[value & 15]);
}

}  // namespace

bool IsUtf8(ByteView bytes) {
  while (!bytes.empty()) {
    const Rune rune = FirstRune(bytes);
    if (rune.size_bytes == 0) return false;
    bytes.remove_prefix(rune.size_bytes);
  }
  return true;
}

std::string Printable(ByteView bytes, size_t max_bytes) {
  std::string out;
  size_t taken = 0;
  while (taken < bytes.size()) {
    const ByteView rest = bytes.substr(taken);
    const Rune rune = FirstRune(rest);
    const size_t size = rune.size_bytes == 0 ? 1 : rune.size_bytes;
    if (size > max_bytes - taken) {
      out += "...";
      break;
    }
    const bool plain =
        rune.size_bytes != 0 && !IsControl(rune.code) && rune.code != '"' && rune.code != '\\';
    if (plain) {
      out.append(rest.substr(0, size));
    } else {
      for (const char byte : rest.substr(0, size)) AppendHexByte(out, byte);
    }
    taken += size;
  }
  return out;
}

void AppendJsonString(std::string& out, ByteView bytes) {
  out.push_back('"');
  while (!bytes.empty()) {
    const Rune rune = FirstRune(bytes);
    if (rune.size_bytes == 0) {
      out += "\xef\xbf\xbd";
      bytes.remove_prefix(1);
      continue;
    }
    if (IsControl(rune.code)) {
      out += "\\u";
      for (int shift = 12; shift >= 0; shift -= 4) out.push_back(kHex[rune.code >> shift & 15]);
    } else {
      if (rune.code == '"' || rune.code == '\\') out.push_back('\\');
      out.append(bytes.substr(0, rune.size_bytes));
    }
    bytes.remove_prefix(rune.size_bytes);
  }
  out.push_back('"');
}

bool HasLineBreakOrNul(ByteView bytes) {
  return bytes.find_first_of(ByteView("\r\n\0", 3)) != ByteView::npos;
}

}  // namespace postern::base
