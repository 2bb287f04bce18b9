// delivery_message: messages of delivery probes.
// SPDX-License-Identifier: Apache-2.0
#include "health/delivery_message.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "health/imap_answer.h"

namespace postern::health {
namespace {

constexpr size_t kMaxNameBytes = 40;

bool IsPlain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

std::string Hex(uint64_t value) {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(value));
  return text.data();
}

// RFC 5322 3.3, in UTC.
std::string PrintDate(base::WallTime time) {
  constexpr std::array<const char*, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array<const char*, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time.time_since_epoch());
  const std::chrono::sys_days day(std::chrono::floor<std::chrono::days>(seconds));
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(seconds - day.time_since_epoch());
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%s, %02u %s %04d %02d:%02d:%02d +0000",
                kDays[std::chrono::weekday(day).c_encoding()], static_cast<unsigned>(date.day()),
                kMonths[static_cast<unsigned>(date.month()) - 1], static_cast<int>(date.year()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()));
  return text.data();
}

}  // namespace

std::string DeliveryOwner(std::string_view node, std::string_view probe) {
  bool is_whole = true;
  const auto tidy = [&is_whole](std::string_view name) {
    std::string text(name.substr(0, kMaxNameBytes));
    is_whole = is_whole && text.size() == name.size() && !name.empty() &&
               std::all_of(text.begin(), text.end(), IsPlain);
    std::replace_if(
        text.begin(), text.end(), [](char c) { return !IsPlain(c); }, '_');
    return text;
  };
  std::string owner = tidy(node) + '/' + tidy(probe);
  if (is_whole) return owner;
  const uint64_t of_node = base::StableHash(node.data(), node.size(), 1);
  return owner + '-' + Hex(base::StableHash(probe.data(), probe.size(), of_node));
}

std::string MakeDeliveryId(base::Rng& rng) {
  const std::string first = Hex(rng.Next());
  return first + Hex(rng.Next());
}

std::optional<std::string> DeliveryIdOf(base::ByteView header, std::string_view owner) {
  const std::vector<std::string> bodies = HeaderBodies(header, kDeliveryHeader);
  if (bodies.size() != 1) return std::nullopt;
  const std::string& body = bodies.front();
  const size_t blank = body.find_first_of(" \t");
  if (blank == std::string::npos || body.substr(0, blank) != owner) return std::nullopt;
  const std::string id = body.substr(body.find_first_not_of(" \t", blank));
  if (id.size() != 32 || id.find_first_not_of("0123456789abcdef") != std::string::npos)
    return std::nullopt;
  return id;
}

std::string PrintDeliveryMessage(const DeliveryMessage& message) {
  std::string text;
  const auto add = [&text](std::string_view name, const std::string& body) {
    text.append(name).append(": ").append(body).append("\r\n");
  };
  add("Date", PrintDate(message.date));
  add("From", "Postern <" + (message.from.empty() ? message.to : message.from) + '>');
  add("To", '<' + message.to + '>');
  add("Subject", "Postern delivery probe");
  add("Message-ID", '<' + message.id + '@' + message.hostname + '>');
  add("Auto-Submitted", "auto-generated");
  add("X-Auto-Response-Suppress", "All");
  add(kDeliveryHeader, message.owner + ' ' + message.id);
  add("MIME-Version", "1.0");
  add("Content-Type", "text/plain; charset=us-ascii");
  text +=
      "\r\nSent by a Postern load balancer to see how long mail takes to arrive.\r\n"
      "It is deleted as soon as it is found; it may be deleted at any time.\r\n";
  return text;
}

}  // namespace postern::health
