// memory_stream: two streams that are each other's peer, in one process: what one writes is the
// other's input.
//
// What a peer has not consumed is the writer's Unsent(), so that back-pressure goes through as over
// a socket: an owner that pauses, or leaves its input alone, stops who looks at Unsent().
// Does not: TLS of its own. An end may pass for the connection of another stream (`like`): in TLS
//           or in clear, and its addresses, as that one is.
// Owner:    who made the pair; either end may be deleted first, which is a reset for the other.
// Thread:   its loop's.
// Tests:    test/io/memory_stream_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "lb/base/bytes.h"
#include "lb/io/loop.h"
#include "lb/io/stream.h"

namespace postern::io {

class MemoryStream final : public Stream {
 public:
  // like: of the first end; null, or outlives it.
  [[nodiscard]] static std::pair<std::unique_ptr<MemoryStream>, std::unique_ptr<MemoryStream>> Pair(
      Loop& loop, const Stream* like);
  ~MemoryStream() override;

  void SetObserver(Observer* observer) override;
  [[nodiscard]] base::ByteView Input() const override { return input_.View(); }
  void Consume(size_t num_bytes) override;
  void PauseReads() override { is_paused_ = true; }
  void ResumeReads() override;
  void Write(base::ByteView bytes) override;
  [[nodiscard]] size_t Unsent() const override;
  void SetLowWater(size_t num_bytes) override { low_water_bytes_ = num_bytes; }
  void StartTls(const TlsRequest& request) override;
  [[nodiscard]] bool in_tls() const override { return like_ != nullptr && like_->in_tls(); }
  [[nodiscard]] const TlsFacts* tls_facts() const override {
    return like_ == nullptr ? nullptr : like_->tls_facts();
  }
  [[nodiscard]] std::string tls_error() const override { return {}; }
  void ShutdownWrite() override;
  void CloseGently() override;
  void Close() override;
  [[nodiscard]] StreamEnd end() const override { return end_; }
  [[nodiscard]] bool truncated() const override { return false; }
  [[nodiscard]] base::SocketAddress peer_address() const override;
  [[nodiscard]] base::SocketAddress local_address() const override;

 private:
  MemoryStream(Loop& loop, const Stream* like);
  // Who is told of events, as long as it is there.
  using Self = std::shared_ptr<MemoryStream*>;
  [[nodiscard]] bool is_closed() const { return is_closed_; }
  void Leave(bool is_gentle);
  void ServeSoon();
  void Serve();
  // False: this end is closed, or gone.
  [[nodiscard]] bool Report(Event event);

  Loop& loop_;
  const Stream* const like_;
  const Self self_;
  MemoryStream* peer_ = nullptr;  // null: it is closed, or gone
  Observer* observer_ = nullptr;
  base::ByteQueue input_;
  size_t low_water_bytes_ = 0;
  StreamEnd end_ = StreamEnd::kNone;
  StreamEnd coming_end_ = StreamEnd::kNone;  // behind the input; to be told
  bool is_readable_ = false;                 // to be told
  bool is_drained_ = false;                  // to be told
  bool is_write_shut_ = false;
  bool is_paused_ = false;
  bool is_closed_ = false;
  bool is_serving_soon_ = false;
};

}  // namespace postern::io
