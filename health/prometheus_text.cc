// prometheus_text: one number out of an exporter's text, read as it arrives.
// SPDX-License-Identifier: Apache-2.0
#include "health/prometheus_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <system_error>
#include <utility>

#include "lb/base/escape.h"

namespace postern::health {
namespace {

bool IsBlank(char c) {
  return c == ' ' || c == '\t';
}

void SkipBlanks(std::string_view& text) {
  while (!text.empty() && IsBlank(text.front())) text.remove_prefix(1);
}

// Up to a blank; takes it off the text.
std::string_view TakeWord(std::string_view& text) {
  const auto end = std::find_if(text.begin(), text.end(), IsBlank);
  const std::string_view word = text.substr(0, static_cast<size_t>(end - text.begin()));
  text.remove_prefix(word.size());
  return word;
}

// As Go writes and reads floats: a sign, decimal or exponent, Inf, NaN.
std::optional<double> ParseNumber(std::string_view word) {
  if (word.starts_with('+')) {
    word.remove_prefix(1);
    if (word.starts_with('-')) return std::nullopt;
  }
  double number = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (end != word.data() + word.size() || word.empty()) return std::nullopt;
  if (error == std::errc::result_out_of_range) return HUGE_VAL;
  if (error != std::errc()) return std::nullopt;
  return number;
}

// What a label name (or a metric name in front of braces) is made of; anything else ends it.
bool IsNameChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == ':';
}

// A string in quotes, its escapes undone; nothing if it does not end.
std::optional<std::string> TakeQuoted(std::string_view& text) {
  if (!text.starts_with('"')) return std::nullopt;
  text.remove_prefix(1);
  std::string value;
  while (!text.empty()) {
    const char c = text.front();
    text.remove_prefix(1);
    if (c == '"') return value;
    if (c != '\\') {
      value += c;
      continue;
    }
    if (text.empty()) break;
    const char escaped = text.front();
    text.remove_prefix(1);
    if (escaped == 'n') {
      value += '\n';
    } else if (escaped == '\\' || escaped == '"') {
      value += escaped;
    } else {  // not an escape: both stand for themselves
      value += '\\';
      value += escaped;
    }
  }
  return std::nullopt;
}

}  // namespace

PrometheusText::PrometheusText(std::string metric, std::map<std::string, std::string> labels,
                               Combine combine)
    : metric_(std::move(metric)), labels_(std::move(labels)), combine_(combine) {}

void PrometheusText::Feed(base::ByteView bytes) {
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    const bool is_whole = end != base::ByteView::npos;
    const std::string_view piece = bytes.substr(0, end);
    bytes.remove_prefix(is_whole ? end + 1 : bytes.size());
    if (!is_skipping_ && line_.empty() && is_whole && piece.size() <= kMaxLineBytes) {
      TakeLine(piece);  // the common case: nothing is copied
      continue;
    }
    if (!is_skipping_ && line_.size() + piece.size() > kMaxLineBytes) {
      line_.append(piece.substr(0, kMaxLineBytes - line_.size()));
      is_broken_ |= line_.starts_with(metric_);
      line_.clear();
      is_skipping_ = true;
    }
    if (!is_skipping_) line_.append(piece);
    if (!is_whole) return;
    if (!is_skipping_) TakeLine(line_);
    is_skipping_ = false;
    line_.clear();
  }
}

base::Result<double> PrometheusText::Finish() {
  if (!line_.empty()) TakeLine(line_);
  line_.clear();
  const std::string name = base::Printable(metric_, 100);
  if (is_broken_) return base::Error{"a line about " + name + " is not understood"};
  if (num_samples_ == 0) {
    return base::Error{"there is no sample of " + name +
                       (labels_.empty() ? "" : " with its labels")};
  }
  return value_;
}

void PrometheusText::TakeLine(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  SkipBlanks(line);
  if (line.empty() || line.front() == '#') return;
  // {"a name in quotes", label="value"} 1
  const bool is_quoted = line.front() == '{';
  if (!is_quoted) {
    const auto end = std::find_if_not(line.begin(), line.end(), IsNameChar);
    const auto size = static_cast<size_t>(end - line.begin());
    if (line.substr(0, size) != metric_) return;
    line.remove_prefix(size);
    SkipBlanks(line);
  }
  LabelsMatch match = LabelsMatch::kYes;
  if (line.starts_with('{')) {
    match = TakeLabels(line, !is_quoted);
  } else {
    for (const auto& [name, value] : labels_)
      if (!value.empty()) match = LabelsMatch::kNo;
  }
  if (match == LabelsMatch::kBroken) is_broken_ = true;
  if (match == LabelsMatch::kYes) TakeSample(line);
}

// is_named: the metric's name stood in front of the braces. What is broken before a name in quotes
// was found to be the metric's is no business of ours.
PrometheusText::LabelsMatch PrometheusText::TakeLabels(std::string_view& rest, bool is_named) {
  bool is_ours = is_named;
  bool is_first = true;
  size_t num_equal = 0;
  for (const auto& [name, value] : labels_) num_equal += value.empty() ? 1 : 0;
  const auto broken = [&is_ours] { return is_ours ? LabelsMatch::kBroken : LabelsMatch::kNo; };
  rest.remove_prefix(1);
  while (true) {
    SkipBlanks(rest);
    if (rest.starts_with('}')) {
      rest.remove_prefix(1);
      return is_ours && num_equal == labels_.size() ? LabelsMatch::kYes : LabelsMatch::kNo;
    }
    std::string name;
    if (rest.starts_with('"')) {
      auto quoted = TakeQuoted(rest);
      if (!quoted) return broken();
      name = std::move(*quoted);
      SkipBlanks(rest);
      if (is_first && !is_named && !rest.starts_with('=')) {
        if (name != metric_) return LabelsMatch::kNo;
        is_ours = true;
        name.clear();
      }
    } else {
      const auto end = std::find_if_not(rest.begin(), rest.end(), IsNameChar);
      name = rest.substr(0, static_cast<size_t>(end - rest.begin()));
      if (name.empty()) return broken();
      rest.remove_prefix(name.size());
      SkipBlanks(rest);
    }
    if (!is_ours) return LabelsMatch::kNo;  // the name comes first, or not at all
    if (!name.empty()) {
      if (!rest.starts_with('=')) return broken();
      rest.remove_prefix(1);
      SkipBlanks(rest);
      const auto value = TakeQuoted(rest);
      if (!value) return broken();
      if (const auto wanted = labels_.find(name); wanted != labels_.end()) {
        if (wanted->second != *value) return LabelsMatch::kNo;
        num_equal += value->empty() ? 0 : 1;
      }
    }
    is_first = false;
    SkipBlanks(rest);
    if (rest.starts_with(',')) {
      rest.remove_prefix(1);
    } else if (!rest.starts_with('}')) {
      return broken();
    }
  }
}

// A value, perhaps a time, perhaps an exemplar behind '#'.
void PrometheusText::TakeSample(std::string_view rest) {
  SkipBlanks(rest);
  const auto number = ParseNumber(TakeWord(rest));
  SkipBlanks(rest);
  if (!rest.empty() && rest.front() != '#') {
    if (!ParseNumber(TakeWord(rest))) is_broken_ = true;
    SkipBlanks(rest);
  }
  if (!number || (!rest.empty() && rest.front() != '#')) {
    is_broken_ = true;
    return;
  }
  ++num_samples_;
  if (num_samples_ == 1) {
    value_ = *number;
  } else if (combine_ == Combine::kSum) {
    value_ += *number;
  } else if (std::isnan(*number) || std::isnan(value_)) {
    value_ = std::nan("");
  } else {
    value_ = std::max(value_, *number);
  }
}

}  // namespace postern::health
