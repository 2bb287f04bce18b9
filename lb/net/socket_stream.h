// socket_stream: io::Stream on a non-blocking TCP or local socket, in clear or inside TLS.
//
// Reads:    into the loop's shared scratch; Input() is a slice of it during OnStream, and only what
//           is left unconsumed moves to a tail of the stream's own. The first read takes 16 KiB,
//           more only while reads come back full and everything is consumed, so that a peer
//           cannot make us hold more than that before its owner wants it. At most 256 KiB a wakeup.
// Writes:   straight to the socket; what it does not take is queued and EV_WRITE armed meanwhile.
// Forwards: once reads of 64 KiB come back full, by splice, as long as the sink takes what it is
//           given; what it does not take now stays in the kernel's pipe. Else as any read.
// Idle:     owns no buffer; a stream costs kMaxBytes and, inside TLS, its SSL object.
// Faults:   a broken write end is reported only after what the peer sent before has been read.
// Owner:    a session or a probe.   Thread: its loop's.
// Why so:   bufferevents copy twice and cost four times as much per MiB.
// Tests:    test/net/socket_stream_test.cc, test/net/socket_stream_tls_test.cc,
//           test/net/splice_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "lb/base/address.h"
#include "lb/base/bytes.h"
#include "lb/io/dialer.h"
#include "lb/io/stream.h"
#include "lb/net/fd_event.h"
#include "lb/net/owned_fd.h"
#include "lb/net/tls_facts_pool.h"
#include "lb/net/unsent_queue.h"
#include "lb/tls/tls_engine.h"

namespace postern::net {

class EventLoop;
struct StreamShared;

class SocketStream final : public io::Stream {
 public:
  static constexpr size_t kMaxBytes = 400;

  // A connected socket, non-blocking. Nothing is read before there is an observer.
  SocketStream(EventLoop& loop, OwnedFd fd, const base::SocketAddress& peer, Observer* observer);
  // Starts to connect. Reports kConnected or kEnd later.
  [[nodiscard]] static std::unique_ptr<SocketStream> Dial(EventLoop& loop,
                                                          const io::DialOptions& options,
                                                          Observer& observer);
  // One end of a pair of sockets, non-blocking, as if it had been dialled; invalid: it ends as
  // no_socket says.
  [[nodiscard]] static std::unique_ptr<SocketStream> DialPair(EventLoop& loop, OwnedFd fd,
                                                              Observer& observer,
                                                              io::StreamEnd no_socket);
  ~SocketStream() override;

  void SetObserver(Observer* observer) override;
  [[nodiscard]] base::ByteView Input() const override { return input_; }
  void Consume(size_t num_bytes) override;
  void PauseReads() override;
  void ResumeReads() override;
  void Write(base::ByteView bytes) override;
  void WritePart(base::ByteView bytes) override;
  [[nodiscard]] bool ForwardTo(Stream& sink) override;
  [[nodiscard]] size_t TakeForwarded() override { return std::exchange(forwarded_bytes_, 0); }
  [[nodiscard]] size_t Unsent() const override;
  void SetLowWater(size_t num_bytes) override { low_water_bytes_ = num_bytes; }
  void StartTls(const io::TlsRequest& request) override;
  [[nodiscard]] bool in_tls() const override { return facts_.get() != nullptr; }
  [[nodiscard]] const io::TlsFacts* tls_facts() const override { return facts_.get(); }
  [[nodiscard]] std::string tls_error() const override;
  void ShutdownWrite() override;
  void CloseGently() override;
  void Close() override;
  [[nodiscard]] io::StreamEnd end() const override { return end_; }
  [[nodiscard]] bool truncated() const override { return is_truncated_; }
  [[nodiscard]] base::SocketAddress peer_address() const override { return peer_; }
  [[nodiscard]] base::SocketAddress local_address() const override;

 private:
  enum class Phase : uint8_t { kConnecting, kOpen, kEnded, kClosed };
  // Whether the stream goes on to use itself after what it did.
  enum class Next : uint8_t { kGoOn, kStop };
  enum class Lazy : uint8_t { kYes, kNo };
  // What was noticed inside a method and is reported from the loop.
  static constexpr uint8_t kReportReadable = 1;
  static constexpr uint8_t kReportDrained = 2;
  static constexpr uint8_t kReportEnd = 4;

  void StartConnect(const io::DialOptions& options);
  void OnEvent(uint8_t what);
  [[nodiscard]] Next FinishConnect();
  [[nodiscard]] Next RunReports();
  [[nodiscard]] Next Read();
  // Takes what recv brought: true to go on reading.
  [[nodiscard]] bool Take(base::ByteView received);
  [[nodiscard]] bool TakeHandshake();
  [[nodiscard]] bool TakePlain(io::Stream::Event first);
  [[nodiscard]] Next TakeEof();
  [[nodiscard]] Next Report(Event event);
  [[nodiscard]] Next ReportEnd(io::StreamEnd end);
  void ReportLater(uint8_t report);
  void FailLater(io::StreamEnd end);
  void KeepTail();
  [[nodiscard]] ssize_t TakeFrom(int fd, size_t num_bytes);
  [[nodiscard]] Next Flush();
  void SendOrQueue(base::ByteView bytes);
  void SendTlsOutput();
  void OnWriteBroken();
  void FinishShutdown();
  void UpdateInterest(Lazy lazy = Lazy::kYes);
  [[nodiscard]] bool WantsRead() const;
  void SetTlsError(std::string text);
  void FreeAll();

  EventLoop& loop_;
  Observer* observer_;
  FdEvent event_;
  OwnedFd fd_;
  tls::TlsEngine tls_;
  base::ByteView input_;  // in the loop's scratch during OnStream, else in tail_
  std::unique_ptr<base::ByteQueue> tail_;
  std::unique_ptr<UnsentQueue> unsent_;
  TlsFactsPool::Share facts_;
  std::unique_ptr<std::string> tls_error_;
  SocketStream* sink_ = nullptr;  // ForwardTo
  size_t forwarded_bytes_ = 0;
  size_t low_water_bytes_ = 0;
  base::SocketAddress peer_;
  Phase phase_ = Phase::kOpen;
  io::StreamEnd end_ = io::StreamEnd::kNone;
  io::StreamEnd end_later_ = io::StreamEnd::kNone;
  uint8_t reports_ = 0;
  uint8_t read_growth_ = 0;  // a read asks for 16 KiB << this
  bool is_paused_ : 1 = false;
  bool is_handshaking_ : 1 = false;
  bool is_eof_ : 1 = false;  // read side is over
  bool is_truncated_ : 1 = false;
  bool is_write_shut_ : 1 = false;    // ShutdownWrite was called
  bool is_part_ : 1 = false;          // inside WritePart
  bool is_closing_ : 1 = false;       // inside CloseGently
  bool is_write_broken_ : 1 = false;  // the kernel refused; what was queued is lost
  bool is_in_callback_ : 1 = false;
};

}  // namespace postern::net
