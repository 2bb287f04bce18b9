// sim_net: io::Stream and io::Dialer over a network in memory, on a SimLoop.
//
// Bytes arrive cut as the policy says, after a latency, through buffers of bounded size (so that
// Unsent() and kDrained happen). TLS is a mark in the stream: both ends must call StartTls; bytes
// sent in clear that reach an end which is past that point break its handshake, as they do in real
// life. Calls back only from the loop, as io::Stream demands. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "lb/base/rng.h"
#include "lb/io/dialer.h"
#include "lb/io/stream.h"
#include "test/support/sim_loop.h"

namespace postern::test {

class SimNet;

class SimStream final : public io::Stream {
 public:
  ~SimStream() override;

  void SetObserver(Observer* observer) override;
  [[nodiscard]] base::ByteView Input() const override { return input_; }
  void Consume(size_t num_bytes) override;
  void PauseReads() override { is_paused_ = true; }
  void ResumeReads() override;
  void Write(base::ByteView bytes) override;
  [[nodiscard]] size_t Unsent() const override { return unsent_bytes_; }
  void SetLowWater(size_t num_bytes) override { low_water_bytes_ = num_bytes; }
  void StartTls(const io::TlsRequest& request) override;
  [[nodiscard]] bool in_tls() const override { return is_tls_up_; }
  [[nodiscard]] const io::TlsFacts* tls_facts() const override {
    return is_tls_up_ ? &facts_ : nullptr;
  }
  [[nodiscard]] std::string tls_error() const override { return tls_error_; }
  void ShutdownWrite() override;
  void CloseGently() override;
  void Close() override;
  [[nodiscard]] io::StreamEnd end() const override { return end_; }
  [[nodiscard]] bool truncated() const override { return is_truncated_; }
  [[nodiscard]] base::SocketAddress peer_address() const override { return peer_address_; }
  [[nodiscard]] base::SocketAddress local_address() const override { return local_address_; }

  // Of tests: breaks the connection for both ends, now.
  void Reset();
  // Of tests: this end fails to verify its peer.
  void FailVerification() { fails_verification_ = true; }
  [[nodiscard]] bool is_closed() const { return is_closed_; }

 private:
  friend class SimNet;
  struct Segment {
    enum class Kind : uint8_t { kClear, kInTls, kHello, kFin };
    Kind kind;
    std::string bytes;
  };
  struct Reports {
    bool readable = false, drained = false, end = false, connected = false, tls_up = false;
  };

  explicit SimStream(SimNet& net);
  void Pump();                   // from unsent to the wire, as far as the window allows
  void Arrive(Segment segment);  // at this end
  void TakeHeld();               // segments that came before StartTls was called
  void Take(Segment segment);
  void EndWith(io::StreamEnd end);
  void ReportSoon();
  void RunReports();
  void MaybeTlsUp();

  SimNet& net_;
  std::shared_ptr<SimStream*> self_;  // null inside once this end is gone
  std::shared_ptr<SimStream*> peer_;
  Observer* observer_ = nullptr;
  std::string input_;
  std::deque<Segment> unsent_;
  size_t unsent_bytes_ = 0;
  size_t in_flight_bytes_ = 0;  // on the way to the peer, or unread there
  std::deque<Segment> held_;
  base::MonoTime last_arrival_{};  // at the peer: order is kept
  size_t low_water_bytes_ = 0;
  Reports reports_;
  io::StreamEnd end_ = io::StreamEnd::kNone;
  io::TlsFacts facts_;
  std::string tls_error_;
  base::SocketAddress peer_address_, local_address_;
  bool is_report_posted_ = false;
  bool is_paused_ = false;
  bool is_connected_ = true;
  bool is_closed_ = false;
  bool is_write_shut_ = false;
  bool is_truncated_ = false;
  bool has_fin_ = false;
  bool wants_tls_ = false;  // StartTls was called here
  bool has_hello_ = false;  // the peer's mark has come
  bool is_tls_up_ = false;
  bool fails_verification_ = false;
};

class SimNet final : public io::Dialer {
 public:
  enum class Cut : uint8_t { kWhole, kByByte, kRandom };
  struct Options {
    base::Duration latency = std::chrono::microseconds(200);
    size_t window_bytes = 64 << 10;
    Cut cut = Cut::kWhole;
  };
  // How an address answers a dial.
  enum class Door : uint8_t { kOpen, kRefuses, kHangs };
  using OnAccept = std::function<void(std::unique_ptr<SimStream> stream)>;

  SimNet(SimLoop& loop, base::Rng& rng) : loop_(loop), rng_(rng) {}

  Options options;

  void Listen(const base::SocketAddress& address, OnAccept on_accept);
  void SetDoor(const base::SocketAddress& address, Door door);
  // Dials to this address fail verification when TLS is started.
  void SetBadCertificate(const base::SocketAddress& address, bool is_bad);

  [[nodiscard]] std::unique_ptr<io::Stream> Connect(const io::DialOptions& dial,
                                                    io::Stream::Observer& observer) override;
  // Both ends of an open connection, from client to server address.
  [[nodiscard]] std::pair<std::unique_ptr<SimStream>, std::unique_ptr<SimStream>> Pair(
      const base::SocketAddress& client, const base::SocketAddress& server);

  [[nodiscard]] uint64_t num_dials() const { return num_dials_; }

 private:
  friend class SimStream;
  struct Place {
    Door door = Door::kRefuses;
    OnAccept on_accept;
    bool has_bad_certificate = false;
  };
  void Join(SimStream& a, SimStream& b);

  SimLoop& loop_;
  base::Rng& rng_;
  std::map<base::SocketAddress, Place> places_;
  uint64_t num_dials_ = 0;
  uint16_t next_port_ = 40000;
};

}  // namespace postern::test
