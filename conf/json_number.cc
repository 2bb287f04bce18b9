// json_number: follows a JSON pointer through the events of the JSON library.
// SPDX-License-Identifier: Apache-2.0
#include "conf/json_number.h"

#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

namespace postern::conf::json {
namespace {

// RFC 6901 4: digits without leading zeros.
std::optional<uint64_t> ParseIndex(std::string_view step) {
  uint64_t index = 0;
  const auto [end, error] = std::from_chars(step.data(), step.data() + step.size(), index);
  if (step.empty() || error != std::errc() || end != step.data() + step.size()) return std::nullopt;
  if (step.size() > 1 && step.front() == '0') return std::nullopt;
  return index;
}

// Knows how many containers are open, and how many of those lie on the path; nothing else.
class Follower final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Follower(std::vector<std::string> path) : path_(std::move(path)) {}

  [[nodiscard]] base::Result<double> Result() const {
    if (is_broken_) return base::Error{"the answer is not JSON"};
    if (num_found_ == 0) return base::Error{"there is nothing at the pointer"};
    if (num_found_ > 1) return base::Error{"there are several values at the pointer"};
    if (!number_) return base::Error{"what is at the pointer is not a number"};
    return *number_;
  }

  bool null() override { return TakeOther(); }
  bool boolean(bool) override { return TakeOther(); }
  bool number_integer(number_integer_t number) override {
    return TakeNumber(static_cast<double>(number));
  }
  bool number_unsigned(number_unsigned_t number) override {
    return TakeNumber(static_cast<double>(number));
  }
  bool number_float(number_float_t number, const string_t&) override { return TakeNumber(number); }
  bool string(string_t& text) override {
    if (!BeginValue()) return true;
    double number = 0;
    const char* last = text.data() + text.size();
    const auto [end, error] = std::from_chars(text.data(), last, number);
    const bool is_number = !text.empty() && end == last && error == std::errc();
    Find(is_number ? std::optional<double>(number) : std::nullopt);
    return true;
  }
  bool binary(binary_t&) override { return TakeOther(); }
  bool start_object(std::size_t) override { return Open(std::nullopt); }
  bool start_array(std::size_t) override { return Open(0); }
  bool key(string_t& name) override {
    if (depth_ == on_path_.size()) on_path_.back().is_next = name == path_[depth_ - 1];
    return true;
  }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    is_broken_ = true;
    return false;
  }

 private:
  // An open container all of whose ancestors lie on the path, and which does itself.
  struct Container {
    std::optional<uint64_t> next_index;  // of an array
    bool is_next = false;                // of an object: the key just read is the path's
  };

  // A value begins: is it the one that the path so far leads to?
  bool LiesOnPath() {
    if (depth_ != on_path_.size()) return false;
    if (depth_ == 0) return true;
    Container& parent = on_path_.back();
    if (!parent.next_index) return std::exchange(parent.is_next, false);
    return ParseIndex(path_[depth_ - 1]) == (*parent.next_index)++;
  }
  bool BeginValue() { return LiesOnPath() && depth_ == path_.size(); }
  bool TakeNumber(double number) {
    if (BeginValue()) Find(number);
    return true;
  }
  bool TakeOther() {
    if (BeginValue()) Find(std::nullopt);
    return true;
  }
  void Find(std::optional<double> number) {
    ++num_found_;
    number_ = number;
  }
  bool Open(std::optional<uint64_t> first_index) {
    const bool lies_on_path = LiesOnPath();
    if (lies_on_path && depth_ == path_.size()) {
      Find(std::nullopt);
    } else if (lies_on_path) {
      on_path_.push_back({first_index});
    }
    ++depth_;
    return true;
  }
  bool Close() {
    if (depth_ == on_path_.size()) on_path_.pop_back();
    --depth_;
    return true;
  }

  std::vector<std::string> path_;
  std::vector<Container> on_path_;  // never longer than the path
  size_t depth_ = 0;                // containers open
  size_t num_found_ = 0;
  std::optional<double> number_;
  bool is_broken_ = false;
};

}  // namespace

std::optional<std::vector<std::string>> ParsePointer(std::string_view pointer) {
  std::vector<std::string> steps;
  if (pointer.empty()) return steps;
  if (pointer.front() != '/') return std::nullopt;
  for (size_t i = 0; i < pointer.size(); ++i) {
    const char c = pointer[i];
    if (c == '/') {
      steps.emplace_back();
    } else if (c != '~') {
      steps.back() += c;
    } else {
      ++i;
      if (i == pointer.size() || (pointer[i] != '0' && pointer[i] != '1')) return std::nullopt;
      steps.back() += pointer[i] == '0' ? '~' : '/';
    }
  }
  return steps;
}

base::Result<double> FindNumber(std::string_view text, std::string_view pointer) {
  auto path = ParsePointer(pointer);
  if (!path) return base::Error{"the pointer is none"};
  Follower follower(std::move(*path));
  static_cast<void>(nlohmann::json::sax_parse(text, &follower));
  return follower.Result();
}

}  // namespace postern::conf::json
