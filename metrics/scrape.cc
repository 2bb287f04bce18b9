// scrape: sums over all threads as Prometheus text.
// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <limits>
#include <sstream>

#include "metrics/registry.h"

namespace postern::metrics {
namespace {

std::vector<std::string> SplitWords(std::string_view text) {
  std::vector<std::string> words;
  std::istringstream stream{std::string(text)};
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

prometheus::ClientMetric WithLabels(Family family, const LabelValues& values) {
  prometheus::ClientMetric metric;
  const std::vector<std::string> names = SplitWords(Row(family).labels);
  // A certificate is named by its file or by an endpoint: the labels of the other way stay away.
  const bool has_choice = family == Family::kCertificateNotAfter;
  for (size_t i = 0; i < names.size() && i < values.size(); ++i)
    if (!has_choice || !values[i].empty()) metric.label.push_back({names[i], values[i]});
  return metric;
}

void SetNumber(prometheus::ClientMetric& metric, Kind kind, double value) {
  if (kind == Kind::kCounter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
}

double ReadFirstNumber(const char* path, int index) {
  std::ifstream file(path);
  double value = 0;
  for (int i = 0; i <= index; ++i) file >> value;
  return file ? value : 0;
}

double CountOpenDescriptors() {
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) return 0;
  double count = -3;  // ".", "..", and this directory itself
  while (readdir(directory) != nullptr) count += 1;
  closedir(directory);
  return count;
}

double StartTimeSeconds() {
  // Field 22 of stat, in ticks since boot; the name in field 2 may hold anything up to the last
  // ')'.
  std::ifstream file("/proc/self/stat");
  std::string line;
  std::getline(file, line);
  std::istringstream rest(line.substr(line.rfind(')') + 1));
  std::string word;
  for (int field = 3; field <= 22; ++field) rest >> word;
  double boot = 0;
  std::ifstream stat("/proc/stat");
  for (std::string key; stat >> key;)
    if (key == "btime") stat >> boot;
  return boot + std::strtod(word.c_str(), nullptr) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double ProcessValue(Family family) {
  switch (family) {
    case Family::kProcessCpu: {
      rusage usage{};
      getrusage(RUSAGE_SELF, &usage);
      const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
      };
      return seconds(usage.ru_utime) + seconds(usage.ru_stime);
    }
    case Family::kProcessResidentMemory:
      return ReadFirstNumber("/proc/self/statm", 1) * static_cast<double>(sysconf(_SC_PAGESIZE));
    case Family::kProcessOpenFds:
      return CountOpenDescriptors();
    case Family::kProcessMaxFds: {
      rlimit limit{};
      getrlimit(RLIMIT_NOFILE, &limit);
      return static_cast<double>(limit.rlim_cur);
    }
    case Family::kProcessStartTime: {
      static const double start = StartTimeSeconds();
      return start;
    }
    default:
      return 0;
  }
}

bool IsOfProcess(Family family) {
  return family >= Family::kProcessCpu;
}

std::vector<prometheus::MetricFamily> Collect(const Registry::Impl& registry) {
  std::vector<prometheus::MetricFamily> families;
  for (const FamilyRow& row : Catalog()) {
    prometheus::MetricFamily family;
    family.name = row.name;
    family.help = row.help;
    family.type = row.kind == Kind::kCounter ? prometheus::MetricType::Counter
                  : row.kind == Kind::kGauge ? prometheus::MetricType::Gauge
                                             : prometheus::MetricType::Histogram;
    families.push_back(std::move(family));
  }
  const auto metrics_of = [&](Family family) -> std::vector<prometheus::ClientMetric>& {
    return families[static_cast<size_t>(family)].metric;
  };
  for (const auto& [key, series] : registry.series) {
    if (!series.is_shown) continue;
    prometheus::ClientMetric metric = WithLabels(series.family, series.labels);
    const Kind kind = Row(series.family).kind;
    if (kind == Kind::kHistogram) {
      const auto bounds = Buckets(series.family);
      uint64_t count = 0;
      Slot slot = series.first;
      for (const double bound : bounds) {
        count += static_cast<uint64_t>(registry.Sum(slot++));
        metric.histogram.bucket.push_back({count, bound});
      }
      count += static_cast<uint64_t>(registry.Sum(slot++));
      metric.histogram.bucket.push_back({count, std::numeric_limits<double>::infinity()});
      metric.histogram.sample_count = count;
      metric.histogram.sample_sum = static_cast<double>(registry.Sum(slot)) / 1e9;
      if (count == 0) continue;
    } else {
      const int64_t sum = registry.Sum(series.first);
      if (series.is_quiet && sum == 0) continue;
      SetNumber(metric, kind, static_cast<double>(sum));
    }
    metrics_of(series.family).push_back(std::move(metric));
  }
  for (const auto& [key, value] : registry.values) {
    prometheus::ClientMetric metric = WithLabels(key.first, key.second);
    SetNumber(metric, Row(key.first).kind, value);
    metrics_of(key.first).push_back(std::move(metric));
  }
  for (const Recorder::Block* block : registry.blocks) {
    const int worker = block->worker.load(std::memory_order_relaxed);
    if (worker < 0) continue;
    prometheus::ClientMetric sessions =
        WithLabels(Family::kWorkerSessions, {std::to_string(worker)});
    sessions.gauge.value = static_cast<double>(block->sessions.load(std::memory_order_relaxed));
    metrics_of(Family::kWorkerSessions).push_back(std::move(sessions));
    prometheus::ClientMetric lag = WithLabels(Family::kEventLoopLag, {std::to_string(worker)});
    lag.gauge.value = static_cast<double>(block->lag_ns.load(std::memory_order_relaxed)) / 1e9;
    metrics_of(Family::kEventLoopLag).push_back(std::move(lag));
  }
  for (const FamilyRow& row : Catalog()) {
    if (!IsOfProcess(row.family)) continue;
    prometheus::ClientMetric metric;
    SetNumber(metric, row.kind, ProcessValue(row.family));
    metrics_of(row.family).push_back(std::move(metric));
  }
  std::erase_if(families, [](const auto& family) { return family.metric.empty(); });
  return families;
}

}  // namespace

std::string Registry::Text() const {
  std::vector<prometheus::MetricFamily> families;
  {
    const std::lock_guard lock(impl_->mutex);
    families = Collect(*impl_);
  }
  return prometheus::TextSerializer().Serialize(families);
}

double Registry::Value(std::string_view series) const {
  std::istringstream lines(Text());
  for (std::string line; std::getline(lines, line);)
    if (line.size() > series.size() && line.compare(0, series.size(), series) == 0 &&
        line[series.size()] == ' ')
      return std::strtod(line.c_str() + series.size(), nullptr);
  return 0;
}

}  // namespace postern::metrics
