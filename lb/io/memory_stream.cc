// memory_stream: two streams that are each other's peer.
// SPDX-License-Identifier: Apache-2.0
#include "lb/io/memory_stream.h"

#include "lb/base/check.h"

namespace postern::io {

std::pair<std::unique_ptr<MemoryStream>, std::unique_ptr<MemoryStream>> MemoryStream::Pair(
    Loop& loop, const Stream* like) {
  std::unique_ptr<MemoryStream> one(new MemoryStream(loop, like));
  std::unique_ptr<MemoryStream> other(new MemoryStream(loop, nullptr));
  one->peer_ = other.get();
  other->peer_ = one.get();
  return {std::move(one), std::move(other)};
}

MemoryStream::MemoryStream(Loop& loop, const Stream* like)
    : loop_(loop), like_(like), self_(std::make_shared<MemoryStream*>(this)) {}

MemoryStream::~MemoryStream() {
  Leave(false);
  *self_ = nullptr;
}

void MemoryStream::SetObserver(Observer* observer) {
  observer_ = observer;
  ServeSoon();
}

void MemoryStream::Consume(size_t num_bytes) {
  const size_t before = input_.size();
  input_.Consume(num_bytes);
  if (peer_ == nullptr) return;
  const size_t mark = peer_->low_water_bytes_;
  if (before <= mark || input_.size() > mark) return;
  peer_->is_drained_ = true;
  peer_->ServeSoon();
}

void MemoryStream::ResumeReads() {
  is_paused_ = false;
  if (!input_.empty()) is_readable_ = true;
  ServeSoon();
}

void MemoryStream::Write(base::ByteView bytes) {
  if (peer_ == nullptr || is_write_shut_ || is_closed() || bytes.empty()) return;
  peer_->input_.Append(bytes);
  peer_->is_readable_ = true;
  peer_->ServeSoon();
}

size_t MemoryStream::Unsent() const {
  return peer_ == nullptr ? 0 : peer_->input_.size();
}

void MemoryStream::StartTls(const TlsRequest& /*request*/) {
  POSTERN_CHECK(false);  // nobody is between the two ends
}

void MemoryStream::ShutdownWrite() {
  if (is_write_shut_) return;
  is_write_shut_ = true;
  if (peer_ == nullptr) return;
  peer_->coming_end_ = StreamEnd::kEof;
  peer_->ServeSoon();
}

// The peer still gets what was written.
void MemoryStream::CloseGently() {
  Leave(true);
}

void MemoryStream::Close() {
  Leave(false);
}

void MemoryStream::Leave(bool is_gentle) {
  if (is_closed_) return;
  is_closed_ = true;
  input_.Clear();
  if (peer_ == nullptr) return;
  if (!is_gentle) {
    peer_->coming_end_ = StreamEnd::kReset;
  } else if (!is_write_shut_) {
    peer_->coming_end_ = StreamEnd::kEof;
  }
  peer_->peer_ = nullptr;
  peer_->ServeSoon();
  peer_ = nullptr;
}

base::SocketAddress MemoryStream::peer_address() const {
  return like_ == nullptr ? base::SocketAddress() : like_->peer_address();
}

base::SocketAddress MemoryStream::local_address() const {
  return like_ == nullptr ? base::SocketAddress() : like_->local_address();
}

void MemoryStream::ServeSoon() {
  if (is_serving_soon_ || observer_ == nullptr || is_closed()) return;
  const bool has_news = is_drained_ || (!is_paused_ && is_readable_) ||
                        (coming_end_ != StreamEnd::kNone && coming_end_ != end_);
  if (!has_news) return;
  is_serving_soon_ = true;
  loop_.Post([self = self_] {
    if (*self != nullptr) (*self)->Serve();
  });
}

void MemoryStream::Serve() {
  is_serving_soon_ = false;
  if (is_closed()) return;
  if (is_drained_) {
    is_drained_ = false;
    if (!Report(Event::kDrained)) return;
  }
  if (is_readable_ && !is_paused_) {
    is_readable_ = false;
    if (!input_.empty() && !Report(Event::kReadable)) return;
  }
  // An end is told behind the input that came before it, a clean one only to who reads.
  if (coming_end_ == end_ || (coming_end_ == StreamEnd::kEof && is_paused_)) return;
  if (end_ != StreamEnd::kNone && end_ != StreamEnd::kEof) return;
  end_ = coming_end_;
  (void)Report(Event::kEnd);
}

bool MemoryStream::Report(Event event) {
  const Self self = self_;
  observer_->OnStream(*this, event);
  return *self != nullptr && !is_closed_;
}

}  // namespace postern::io
