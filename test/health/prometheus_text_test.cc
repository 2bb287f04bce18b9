// prometheus_text_test: one number out of an exporter's text.
// SPDX-License-Identifier: Apache-2.0
#include "health/prometheus_text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <string_view>

#include "health/depth.h"

namespace postern::health {
namespace {

using Labels = std::map<std::string, std::string>;
using Combine = PrometheusText::Combine;

// The same text whole and byte by byte must give the same.
base::Result<double> Read(std::string_view text, const std::string& metric, Labels labels = {},
                          Combine combine = Combine::kSum) {
  PrometheusText whole(metric, labels, combine);
  whole.Feed(text);
  PrometheusText cut(metric, labels, combine);
  for (const char& byte : text) cut.Feed({&byte, 1});
  const auto result = whole.Finish();
  const auto again = cut.Finish();
  EXPECT_EQ(result.ok(), again.ok());
  if (result.ok() && again.ok() && !std::isnan(*result)) {
    EXPECT_EQ(*result, *again);
  }
  if (!result.ok() && !again.ok()) {
    EXPECT_EQ(result.error(), again.error());
  }
  return result;
}
double Number(std::string_view text, const std::string& metric, Labels labels = {},
              Combine combine = Combine::kSum) {
  const auto result = Read(text, metric, std::move(labels), combine);
  EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error());
  return result.ok() ? *result : -1;
}
std::string Error(std::string_view text, const std::string& metric, Labels labels = {}) {
  const auto result = Read(text, metric, std::move(labels));
  return result.ok() ? "none" : result.error();
}

// As prometheus-postfix-exporter says it, shortened.
constexpr std::string_view kPostfix =
    "# HELP postfix_showq_message_size_bytes Size of messages in Postfix's message queue, in "
    "bytes\n"
    "# TYPE postfix_showq_message_size_bytes histogram\n"
    "postfix_showq_message_size_bytes_bucket{queue=\"active\",le=\"1000\"} 1\n"
    "postfix_showq_message_size_bytes_bucket{queue=\"active\",le=\"+Inf\"} 3\n"
    "postfix_showq_message_size_bytes_sum{queue=\"active\"} 4242\n"
    "postfix_showq_message_size_bytes_count{queue=\"active\"} 3\n"
    "postfix_showq_message_size_bytes_count{queue=\"deferred\"} 7\n"
    "postfix_showq_message_size_bytes_count{queue=\"incoming\"} 0\n"
    "postfix_up{path=\"/var/spool/postfix/public/showq\"} 1\n";

TEST(PrometheusTextTest, FindsTheCountOfAHistogramByItsName) {
  const std::string count = "postfix_showq_message_size_bytes_count";
  EXPECT_EQ(Number(kPostfix, count, {{"queue", "active"}}), 3);
  EXPECT_EQ(Number(kPostfix, count, {{"queue", "incoming"}}), 0);
  EXPECT_EQ(Number(kPostfix, count), 10);
  EXPECT_EQ(Number(kPostfix, count, {}, Combine::kMax), 7);
  EXPECT_EQ(Number(kPostfix, "postfix_showq_message_size_bytes_bucket", {{"le", "+Inf"}}), 3);
}

TEST(PrometheusTextTest, ANameIsWholeOrItIsAnother) {
  constexpr std::string_view kText = "queue_length_max 9\nqueue_length 4\nqueue 2\n";
  EXPECT_EQ(Number(kText, "queue_length"), 4);
  EXPECT_EQ(Number(kText, "queue"), 2);
  EXPECT_EQ(Error(kText, "queue_len"), "there is no sample of queue_len");
}

TEST(PrometheusTextTest, LabelsMustHaveTheVeryValue) {
  constexpr std::string_view kText = "q{a=\"1\",b=\"2\"} 10\nq{a=\"12\"} 100\nq 1000\n";
  EXPECT_EQ(Number(kText, "q", {{"a", "1"}}), 10);
  EXPECT_EQ(Number(kText, "q", {{"b", "2"}, {"a", "1"}}), 10);
  EXPECT_EQ(Number(kText, "q", {{"a", "12"}}), 100);
  EXPECT_EQ(Error(kText, "q", {{"a", "2"}}), "there is no sample of q with its labels");
  EXPECT_EQ(Error(kText, "q", {{"c", "1"}}), "there is no sample of q with its labels");
}

TEST(PrometheusTextTest, AnEmptyLabelIsOneThatIsNotThere) {
  constexpr std::string_view kText = "q{a=\"\"} 1\nq{a=\"x\"} 10\nq{b=\"y\"} 100\nq 1000\n";
  EXPECT_EQ(Number(kText, "q", {{"a", ""}}), 1101);
}

TEST(PrometheusTextTest, UndoesEscapes) {
  constexpr std::string_view kText =
      "q{path=\"C:\\\\spool\",text=\"say \\\"hi\\\"\",line=\"a\\nb\",odd=\"\\d\"} 5\n";
  EXPECT_EQ(
      Number(kText, "q",
             {{"path", "C:\\spool"}, {"text", "say \"hi\""}, {"line", "a\nb"}, {"odd", "\\d"}}),
      5);
  // What looks like the end of the labels, or of the line's value, inside a string is none.
  EXPECT_EQ(Number("q{a=\"} 7\",b=\"x\"} 8\n", "q", {{"b", "x"}}), 8);
}

TEST(PrometheusTextTest, ReadsNumbersAsGoWritesThem) {
  struct Case {
    std::string_view text;
    double number;
  };
  constexpr Case kCases[] = {
      {"q 1.5e3", 1500}, {"q +12", 12},        {"q 0", 0},
      {"q\t7", 7},       {"q 4 ", 4},          {"  q   4   ", 4},
      {"q{} 4", 4},      {"q{a=\"1\",} 4", 4}, {"q {a = \"1\" , b=\"2\"} 4", 4},
      {"q 4\r\n", 4},    {"q -3", -3}};
  for (const Case& row : kCases) EXPECT_EQ(Number(row.text, "q"), row.number) << row.text;
  EXPECT_TRUE(std::isnan(Number("q NaN\n", "q")));
  EXPECT_TRUE(std::isinf(Number("q +Inf\n", "q")));
  EXPECT_TRUE(std::isinf(Number("q 1e999\n", "q")));
}

TEST(PrometheusTextTest, ToleratesTimesExemplarsAndTheEndOfOpenMetrics) {
  constexpr std::string_view kText =
      "# TYPE q counter\n# UNIT q messages\n"
      "q_total{a=\"b\"} 17 1395066363000\n"
      "q_total{a=\"c\"} 3 1520879607.789 # {trace_id=\"x} y\"} 0.67 1520879607\n"
      "q_total{a=\"d\"} 5 # {} 1\n"
      "q_created{a=\"b\"} 1\n"
      "# EOF\n";
  EXPECT_EQ(Number(kText, "q_total"), 25);
}

TEST(PrometheusTextTest, TakesNamesInQuotes) {
  constexpr std::string_view kText =
      "{\"mail.queue\",state=\"active\"} 4\n{\"mail.queue\", \"the state\"=\"held\"} 8\n"
      "{\"mail.queue\"} 16\n{\"other\",state=\"active\"} 1000\n{state=\"active\"} 1000\n";
  EXPECT_EQ(Number(kText, "mail.queue"), 28);
  EXPECT_EQ(Number(kText, "mail.queue", {{"state", "active"}}), 4);
  EXPECT_EQ(Number(kText, "mail.queue", {{"the state", "held"}}), 8);
}

TEST(PrometheusTextTest, ABrokenLineCountsOnlyIfItIsAboutTheMetric) {
  EXPECT_EQ(Number("<html>\nother{ 7\n!!!\nother x\nq 5\n", "q"), 5);
  for (const std::string_view text :
       {"q\n", "q x\n", "q{a=\"1\" 5\n", "q{a=1} 5\n", "q{a} 5\n", "q{=\"1\"} 5\n", "q{a=\"1\n",
        "q 5 x\n", "q 5 6 7\n", "q{a=\"1\"\"} 5\n", "q 5x\n", "q +-5\n", "q -\n", "q{a=\"1\"}\n",
        "q{,} 3\n"}) {
    EXPECT_EQ(Error(std::string("q 1\n") + std::string(text), "q"),
              "a line about q is not understood")
        << text;
  }
}

TEST(PrometheusTextTest, OneNanSpoilsTheLot) {
  EXPECT_TRUE(std::isnan(Number("q{a=\"1\"} 3\nq{a=\"2\"} NaN\n", "q", {}, Combine::kMax)));
  EXPECT_TRUE(std::isnan(Number("q{a=\"1\"} NaN\nq{a=\"2\"} 3\n", "q", {}, Combine::kMax)));
  EXPECT_TRUE(std::isnan(Number("q{a=\"1\"} NaN\nq{a=\"2\"} 3\n", "q")));
}

TEST(PrometheusTextTest, SkipsLongLinesButNotItsOwn) {
  const std::string longer(PrometheusText::kMaxLineBytes + 1, 'x');
  EXPECT_EQ(Number("# " + longer + "\nother{a=\"" + longer + "\"} 1\nq 5\n", "q"), 5);
  EXPECT_EQ(Error("q 1\nq{a=\"" + longer + "\"} 1\n", "q"), "a line about q is not understood");
}

TEST(PrometheusTextTest, TheLastLineNeedsNoEnd) {
  EXPECT_EQ(Number("q 5", "q"), 5);
  EXPECT_EQ(Error("", "q"), "there is no sample of q");
}

TEST(DepthTest, OnlyWhatAQueueCanBe) {
  EXPECT_TRUE(IsDepth(0));
  EXPECT_TRUE(IsDepth(812.5));
  EXPECT_TRUE(IsDepth(kMaxDepth));
  for (const double number : {-1.0, -0.001, 1e30, HUGE_VAL, -HUGE_VAL, std::nan("")})
    EXPECT_FALSE(IsDepth(number)) << number;
}

}  // namespace
}  // namespace postern::health
