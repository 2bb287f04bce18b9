// queue_decoder: one small class a kind of source.
// SPDX-License-Identifier: Apache-2.0
#include "health/queue_decoder.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "conf/json_number.h"
#include "health/depth.h"
#include "health/prometheus_text.h"
#include "health/showq.h"
#include "lb/base/url.h"
#include "lb/proto/http_response.h"

namespace postern::health {
namespace {

QueueReading Failed(std::string why) {
  QueueReading reading;
  reading.error = std::move(why);
  return reading;
}

QueueReading FromNumber(const base::Result<double>& number) {
  if (!number) return Failed(number.error());
  if (!IsDepth(*number)) return Failed("no queue can be that deep: " + std::to_string(*number));
  QueueReading reading;
  reading.depth = *number;
  return reading;
}

std::string_view WordsFor(AnswerEnd end) {
  switch (end) {
    case AnswerEnd::kTimeout:
      return "no whole answer in time";
    case AnswerEnd::kTooLong:
      return "the answer is too long";
    case AnswerEnd::kWhole:
    case AnswerEnd::kEof:
    case AnswerEnd::kLost:
      break;
  }
  return "the answer was cut off";
}

// --- HTTP -----------------------------------------------------------------------------------

class HttpDecoder : public QueueDecoder {
 public:
  HttpDecoder(const conf::QueueSource& source, std::string_view accept)
      : source_(source), accept_(accept) {}

  void AppendRequest(std::string& out) const final {
    const auto url = base::ParseHttpUrl(source_.url);
    if (!url) return;
    out += "GET " + url->target + " HTTP/1.1\r\n";
    AppendOwn(out, "Host", url->authority);
    AppendOwn(out, "User-Agent", "postern");
    AppendOwn(out, "Accept", accept_);
    out += "Accept-Encoding: identity\r\nConnection: close\r\n";
    for (const auto& [name, value] : source_.headers)
      out.append(name).append(": ").append(value.Reveal()).append("\r\n");
    out += "\r\n";
  }

  Status Feed(base::ByteView input) final {
    while (!input.empty() && response_.status() == proto::HttpResponse::Status::kMore) {
      const proto::HttpResponse::Step step = response_.Next(input);
      if (!step.body.empty()) TakeBody(step.body);
      input.remove_prefix(step.consumed);
    }
    switch (response_.status()) {
      case proto::HttpResponse::Status::kMore:
        return Status::kMore;
      case proto::HttpResponse::Status::kDone:
        return Status::kWhole;
      case proto::HttpResponse::Status::kBroken:
        break;
    }
    return Status::kEnough;
  }

  QueueReading Finish(AnswerEnd end) final {
    if (end == AnswerEnd::kTimeout || end == AnswerEnd::kTooLong)
      return Failed(std::string(WordsFor(end)));
    response_.End(end == AnswerEnd::kEof);
    if (response_.status() != proto::HttpResponse::Status::kDone) return Failed(response_.error());
    return FromNumber(EndOfBody());
  }

 private:
  virtual void TakeBody(base::ByteView bytes) = 0;
  virtual base::Result<double> EndOfBody() = 0;

  // Unless the configuration has one of its own.
  void AppendOwn(std::string& out, std::string_view name, std::string_view value) const {
    const bool is_given = std::any_of(
        source_.headers.begin(), source_.headers.end(),
        [name](const auto& header) { return base::EqualsIgnoreCase(header.first, name); });
    if (!is_given) out.append(name).append(": ").append(value).append("\r\n");
  }

  const conf::QueueSource& source_;
  std::string_view accept_;
  proto::HttpResponse response_;
};

class PrometheusDecoder final : public HttpDecoder {
 public:
  explicit PrometheusDecoder(const conf::QueueSource& source)
      : HttpDecoder(source, "text/plain;version=0.0.4, */*;q=0.1"),
        text_(source.metric, source.labels,
              source.combine_max ? PrometheusText::Combine::kMax : PrometheusText::Combine::kSum) {}

 private:
  void TakeBody(base::ByteView bytes) override { text_.Feed(bytes); }
  base::Result<double> EndOfBody() override { return text_.Finish(); }

  PrometheusText text_;
};

class JsonDecoder final : public HttpDecoder {
 public:
  explicit JsonDecoder(const conf::QueueSource& source)
      : HttpDecoder(source, "application/json, */*;q=0.1"), pointer_(source.pointer) {}

 private:
  void TakeBody(base::ByteView bytes) override { text_.append(bytes); }
  base::Result<double> EndOfBody() override { return conf::json::FindNumber(text_, pointer_); }

  const std::string& pointer_;
  std::string text_;  // bounded by the read's bound
};

// --- agent ----------------------------------------------------------------------------------

class AgentDecoder final : public QueueDecoder {
 public:
  explicit AgentDecoder(const conf::QueueSource& source) : source_(source) {}

  void AppendRequest(std::string& out) const override { out += source_.send; }

  Status Feed(base::ByteView input) override {
    const size_t end = input.find_first_of("\r\n");
    line_.append(input.substr(0, end));
    is_whole_ = end != base::ByteView::npos;
    if (line_.size() > kMaxAgentLineBytes) is_too_long_ = true;
    return is_whole_ || is_too_long_ ? Status::kEnough : Status::kMore;
  }

  QueueReading Finish(AnswerEnd end) override {
    if (is_too_long_) return Failed(std::string(WordsFor(AnswerEnd::kTooLong)));
    if (!is_whole_) {
      // Half a line could be half a number.
      return Failed(line_.empty() && end == AnswerEnd::kEof ? "the agent said nothing"
                    : end == AnswerEnd::kEof                ? "the agent's line has no end"
                                                            : std::string(WordsFor(end)));
    }
    auto line = ParseAgentLine(line_);
    if (!line) return Failed(line.error());
    QueueReading reading;
    reading.depth = line->queue;
    if (line->has_bad_queue) reading.error = "no queue can be that deep, says the agent";
    reading.agent = std::move(line).value();
    return reading;
  }

 private:
  const conf::QueueSource& source_;
  std::string line_;
  bool is_whole_ = false;
  bool is_too_long_ = false;
};

// --- showq ----------------------------------------------------------------------------------

class ShowqDecoder final : public QueueDecoder {
 public:
  explicit ShowqDecoder(const conf::QueueSource& source)
      : soft_(source.soft), showq_(source.queues) {}

  void AppendRequest(std::string&) const override {}

  Status Feed(base::ByteView input) override {
    return showq_.Feed(input) == Showq::Status::kMore ? Status::kMore : Status::kEnough;
  }

  QueueReading Finish(AnswerEnd end) override {
    if (showq_.status() == Showq::Status::kBroken) return Failed(showq_.error());
    const auto count = static_cast<double>(showq_.count());
    // A list that outgrew our bounds proves "at least so many": a queue does not become unknown by
    // being very long.
    const bool is_cut_by_us = end == AnswerEnd::kTimeout || end == AnswerEnd::kTooLong;
    if (showq_.status() == Showq::Status::kMore && !(is_cut_by_us && count > soft_))
      return Failed(std::string(WordsFor(end)));
    QueueReading reading;
    reading.depth = count;
    return reading;
  }

 private:
  double soft_;
  Showq showq_;
};

}  // namespace

std::unique_ptr<QueueDecoder> MakeQueueDecoder(const conf::QueueSource& source) {
  switch (source.kind) {
    case conf::QueueSource::Kind::kPrometheus:
      return std::make_unique<PrometheusDecoder>(source);
    case conf::QueueSource::Kind::kAgent:
      return std::make_unique<AgentDecoder>(source);
    case conf::QueueSource::Kind::kHttpJson:
      return std::make_unique<JsonDecoder>(source);
    case conf::QueueSource::Kind::kShowq:
      break;
  }
  return std::make_unique<ShowqDecoder>(source);
}

}  // namespace postern::health
