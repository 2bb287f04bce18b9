// showq: lists of attributes, and the names of queues in them.
// SPDX-License-Identifier: Apache-2.0
#include "health/showq.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "lb/base/escape.h"

namespace postern::health {
namespace {

// As showq lists them.
constexpr std::array<std::string_view, 5> kQueues = {"maildrop", "active", "incoming", "deferred",
                                                     "hold"};
constexpr size_t kKeptBytes = 64;  // of a token: enough for every name and value that matters

std::optional<uint8_t> OrderOf(std::string_view queue) {
  const auto it = std::find(kQueues.begin(), kQueues.end(), queue);
  if (it == kQueues.end()) return std::nullopt;
  return static_cast<uint8_t>(it - kQueues.begin());
}

}  // namespace

Showq::Showq(const std::vector<std::string>& queues) {
  for (const std::string& queue : queues) {
    const auto order = OrderOf(queue);
    if (!order) continue;
    wanted_ |= static_cast<uint8_t>(1U << *order);
    last_wanted_ = std::max(last_wanted_, *order);
  }
}

Showq::Status Showq::Feed(base::ByteView bytes) {
  while (status_ == Status::kMore && !bytes.empty()) {
    const size_t end = bytes.find('\0');
    const std::string_view piece = bytes.substr(0, end);
    token_bytes_ += piece.size();
    if (token_.size() < kKeptBytes) token_.append(piece.substr(0, kKeptBytes - token_.size()));
    if (token_bytes_ > kMaxTokenBytes) {
      status_ = Fail("no end of an attribute");
      break;
    }
    // Postfix 2 and other services speak in lines: say so at once, not at the deadline.
    if (list_ == List::kFirst && place_ == Place::kName && token_.find('\n') != std::string::npos) {
      status_ = Fail("this is not Postfix's showq: " + base::Printable(token_, 40));
      break;
    }
    if (end == base::ByteView::npos) break;
    bytes.remove_prefix(end + 1);
    status_ = place_ == Place::kName ? TakeName() : TakeValue();
    token_.clear();
    token_bytes_ = 0;
  }
  return status_;
}

Showq::Status Showq::Fail(std::string why) {
  error_ = std::move(why);
  return Status::kBroken;
}

Showq::Status Showq::TakeName() {
  if (!token_.empty()) {
    name_ = token_;
    place_ = Place::kValue;
    return Status::kMore;
  }
  // The end of a list; of the whole, if the list has nothing.
  if (is_list_empty_) return Status::kDone;
  is_list_empty_ = true;
  list_ = List::kMessage;
  return Status::kMore;
}

Showq::Status Showq::TakeValue() {
  place_ = Place::kName;
  const bool begins_list = std::exchange(is_list_empty_, false);
  if (!begins_list) return Status::kMore;
  if (list_ == List::kFirst && name_ == "protocol") {
    if (token_ == "mail_queue_list_protocol") return Status::kMore;
    return Fail("it speaks another protocol: " + base::Printable(token_, 40));
  }
  if (name_ != "queue_name") {
    return Fail("this is not Postfix's showq: it begins with " + base::Printable(name_, 40));
  }
  const auto order = OrderOf(token_);
  // A queue that a later Postfix may have: not wanted, and nothing is known of its order.
  if (!order) return Status::kMore;
  if (*order > last_wanted_) return Status::kDone;
  count_ += (wanted_ >> *order) & 1U;
  return Status::kMore;
}

}  // namespace postern::health
