// result: a value, or why there is none.
//
// Why so:   std::expected is C++23; this is the part of it that Postern uses.
// Tests:    test/base/result_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <variant>

#include "lb/base/check.h"

namespace postern::base {

// Why something could not be had, in words for an operator; never a peer's raw bytes.
struct Error {
  std::string text;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}      // NOLINT: a value is a result
  Result(Error error) : state_(std::move(error)) {}  // NOLINT: so is an error

  [[nodiscard]] bool ok() const { return std::holds_alternative<T>(state_); }
  explicit operator bool() const { return ok(); }
  [[nodiscard]] const T& value() const& {
    POSTERN_CHECK(ok());
    return std::get<T>(state_);
  }
  [[nodiscard]] T& value() & {
    POSTERN_CHECK(ok());
    return std::get<T>(state_);
  }
  [[nodiscard]] T&& value() && {
    POSTERN_CHECK(ok());
    return std::get<T>(std::move(state_));
  }
  const T& operator*() const& { return value(); }
  T& operator*() & { return value(); }
  const T* operator->() const { return &value(); }
  T* operator->() { return &value(); }
  [[nodiscard]] const std::string& error() const {
    POSTERN_CHECK(!ok());
    return std::get<Error>(state_).text;
  }

 private:
  std::variant<T, Error> state_;
};

}  // namespace postern::base
