// session_log: lines for sessions and transactions.
// SPDX-License-Identifier: Apache-2.0
#include "metrics/session_log.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <mutex>

#include "lb/base/escape.h"

namespace postern::metrics {
namespace {

constexpr size_t kFlushBytes = 16 << 10;

// Appends keys and values of one line, as JSON or logfmt.
class LineWriter {
 public:
  LineWriter(std::string& out, base::log::Format format) : out_(out), format_(format) {
    if (is_json()) out_ += '{';
  }

  void Text(std::string_view key, std::string_view value) {
    Key(key);
    base::AppendJsonString(out_, value);
  }
  void Number(std::string_view key, uint64_t value) {
    Key(key);
    out_ += std::to_string(value);
  }
  void List(std::string_view key, const std::vector<std::string>& values) {
    if (!is_json()) {
      std::string joined;
      for (const std::string& value : values) joined += (joined.empty() ? "" : ",") + value;
      Text(key, joined);
      return;
    }
    Key(key);
    out_ += '[';
    for (size_t i = 0; i < values.size(); ++i) {
      if (i > 0) out_ += ',';
      base::AppendJsonString(out_, values[i]);
    }
    out_ += ']';
  }
  void Phases(const std::array<double, base::kNumPhases>& phases_ms) {
    if (is_json()) {
      Key("phases_ms");
      out_ += '{';
      is_first_ = true;
    }
    for (int i = 0; i < base::kNumPhases; ++i) {
      const double ms = phases_ms[static_cast<size_t>(i)];
      if (ms < 0) continue;
      const std::string name(base::Name(static_cast<base::Phase>(i)));
      Key(is_json() ? name : "phases_ms." + name);
      char text[32];
      std::snprintf(text, sizeof(text), "%.3f", ms);
      out_ += text;
    }
    if (is_json()) out_ += '}';
    is_first_ = false;
  }
  void Cause(const base::EndCause& cause) {
    Text("result", base::Name(cause.result));
    Text("phase", base::Name(cause.phase));
    Text("side", base::Name(cause.side));
  }
  void End() {
    if (is_json()) out_ += '}';
    out_ += '\n';
  }

 private:
  [[nodiscard]] bool is_json() const { return format_ == base::log::Format::kJson; }
  void Key(std::string_view key) {
    if (!is_first_) out_ += is_json() ? ',' : ' ';
    is_first_ = false;
    if (is_json()) {
      base::AppendJsonString(out_, key);
      out_ += ':';
    } else {
      out_ += key;
      out_ += '=';
    }
  }

  std::string& out_;
  base::log::Format format_;
  bool is_first_ = true;
};

std::string HexId(uint64_t id) {
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(id));
  return text;
}

}  // namespace

struct SessionLog::Impl {
  std::mutex mutex;  // guards what is below against Open and Reopen; writers hold it for one write
  int fd = -1;
  bool is_owned = false;
  std::string target = "off";
  uint64_t num_dropped = 0;  // lines
  std::atomic<base::log::Format> format{base::log::Format::kJson};
  std::atomic<bool> is_off{true};
};

SessionLog::SessionLog() : impl_(std::make_unique<Impl>()) {}

SessionLog::~SessionLog() {
  if (impl_->is_owned) close(impl_->fd);
}

std::string SessionLog::Open(const std::string& target, base::log::Format format) {
  int fd = -1;
  const bool is_path = target != "off" && target != "stdout";
  if (target == "stdout") fd = STDOUT_FILENO;
  if (is_path) {
    fd = open(target.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0) return target + ": " + std::strerror(errno);
  }
  const std::lock_guard lock(impl_->mutex);
  if (impl_->is_owned) close(impl_->fd);
  impl_->fd = fd;
  impl_->is_owned = is_path;
  impl_->target = target;
  impl_->format.store(format, std::memory_order_relaxed);
  impl_->is_off.store(fd < 0, std::memory_order_relaxed);
  return "";
}

std::string SessionLog::Reopen() {
  return Open(impl_->target, impl_->format.load(std::memory_order_relaxed));
}

uint64_t SessionLog::num_dropped() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->num_dropped;
}

bool SessionLog::is_off() const {
  return impl_->is_off.load(std::memory_order_relaxed);
}

SessionLogWriter::SessionLogWriter(SessionLog& log, std::function<void()> on_pending)
    : log_(log), on_pending_(std::move(on_pending)) {}

SessionLogWriter::~SessionLogWriter() {
  Flush();
}

void SessionLogWriter::OnSession(const SessionAccount& account) {
  if (log_.is_off()) return;
  const bool was_empty = pending_.empty();
  LineWriter line(pending_, log_.impl_->format.load(std::memory_order_relaxed));
  line.Text("time", base::log::FormatTime(account.time));
  line.Text("event", "session");
  line.Text("session", HexId(account.session));
  line.Number("transaction", account.transactions);
  line.Text("listener", account.listener);
  line.Text("protocol", conf::Name(account.protocol));
  line.Text("client", account.client.ToString());
  line.Text("user", account.user);
  line.Text("tls_version", account.tls_version);
  line.Text("tls_cipher", account.tls_cipher);
  line.Text("tls_group", account.tls_group);
  line.Text("backend", account.backend);
  line.Text("why", account.cause.why);
  line.Phases(account.phases_ms);
  line.Number("bytes_in", account.bytes_in);
  line.Number("bytes_out", account.bytes_out);
  line.Number("commands", account.commands);
  line.Cause(account.cause);
  line.End();
  LineDone(was_empty);
}

void SessionLogWriter::OnTransaction(const TransactionAccount& account) {
  if (log_.is_off()) return;
  const bool was_empty = pending_.empty();
  LineWriter line(pending_, log_.impl_->format.load(std::memory_order_relaxed));
  line.Text("time", base::log::FormatTime(account.time));
  line.Text("event", "transaction");
  line.Text("session", HexId(account.session));
  line.Number("transaction", account.transaction);
  line.Text("listener", account.listener);
  line.Text("protocol", conf::Name(account.protocol));
  line.Text("client", account.client.ToString());
  line.Text("user", account.user);
  line.Text("tls_version", account.tls_version);
  line.Text("tls_cipher", account.tls_cipher);
  line.Text("tls_group", account.tls_group);
  line.Text("backend", account.backend);
  line.Text("why", account.cause.why);
  // The null reverse-path is a value of its own.
  line.Text("from", account.from.empty() ? std::string_view("<>") : account.from);
  line.List("to", account.to);
  if (!account.refused.empty()) line.List("refused", account.refused);
  line.Number("size", account.size);
  line.Text("reply", account.reply);
  line.Text("queue_id", account.queue_id);
  line.Phases(account.phases_ms);
  line.Number("bytes_in", account.bytes_in);
  line.Number("bytes_out", account.bytes_out);
  line.Number("commands", account.commands);
  line.Cause(account.cause);
  line.End();
  LineDone(was_empty);
}

void SessionLogWriter::LineDone(bool was_empty) {
  if (pending_.size() >= kFlushBytes) {
    Flush();
  } else if (was_empty && on_pending_ != nullptr) {
    on_pending_();
  }
}

void SessionLogWriter::Flush() {
  if (pending_.empty()) return;
  const std::lock_guard lock(log_.impl_->mutex);
  std::string_view rest = pending_;
  while (log_.impl_->fd >= 0 && !rest.empty()) {
    // Whole lines, at most what a pipe that is ready takes without blocking.
    size_t size = std::min<size_t>(rest.size(), PIPE_BUF);
    if (size < rest.size())
      if (const size_t end = rest.rfind('\n', size - 1); end != std::string_view::npos)
        size = end + 1;
    pollfd ready{log_.impl_->fd, POLLOUT, 0};
    if (poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0) break;
    const ssize_t n = write(log_.impl_->fd, rest.data(), size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    rest.remove_prefix(static_cast<size_t>(n));
  }
  // A full pipe or disk loses lines, never the session.
  log_.impl_->num_dropped += static_cast<uint64_t>(std::count(rest.begin(), rest.end(), '\n'));
  std::string().swap(pending_);
}

}  // namespace postern::metrics
