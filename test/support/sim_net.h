// sim_net: io::Stream and io::Dialer over a network in memory, on a SimLoop.
//
// Below is sim_socket: latency, cuts, bounded buffers (so that Unsent() and kDrained happen), FIN
// and RST. On top is a toy TLS with the order of the real one: the client's hello, the server's
// hello, the client is up, its "finished" brings the server up. Its messages travel as bytes: an
// end that has not called StartTls sees them as Input(), and bytes sent in clear that reach an end
// which has called it end that stream with kTlsFailed. Bytes inside TLS travel as they are.
//
// Calls back only from the loop; Input() grows only right before kReadable, and moves in memory
// after each OnStream, so that a view kept for too long is found by ASan.
//
// Owner:    the test; the SimNet outlives its streams, the SimLoop outlives both.
// Thread:   the loop's.
// Tests:    test/io/sim_net_test.cc, test/io/sim_net_tls_test.cc, test/io/sim_net_faults_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lb/base/bytes.h"
#include "lb/base/rng.h"
#include "lb/io/dialer.h"
#include "lb/io/stream.h"
#include "test/support/sim_loop.h"
#include "test/support/sim_socket.h"

namespace postern::test {

class SimNet;

class SimStream final : public io::Stream, private SimSocket::Owner {
 public:
  ~SimStream() override;

  void SetObserver(Observer* observer) override;
  [[nodiscard]] base::ByteView Input() const override { return input_.View(); }
  void Consume(size_t num_bytes) override;
  void PauseReads() override { is_paused_ = true; }
  void ResumeReads() override;
  void Write(base::ByteView bytes) override;
  [[nodiscard]] size_t Unsent() const override { return socket_->unsent_bytes(); }
  void SetLowWater(size_t num_bytes) override { low_water_bytes_ = num_bytes; }
  void StartTls(const io::TlsRequest& request) override;
  [[nodiscard]] bool in_tls() const override { return tls_ == Tls::kUp; }
  [[nodiscard]] const io::TlsFacts* tls_facts() const override {
    return in_tls() ? &facts_ : nullptr;
  }
  [[nodiscard]] std::string tls_error() const override { return tls_error_; }
  void ShutdownWrite() override;
  void CloseGently() override;
  void Close() override;
  [[nodiscard]] io::StreamEnd end() const override { return end_; }
  [[nodiscard]] bool truncated() const override { return is_truncated_; }
  [[nodiscard]] base::SocketAddress peer_address() const override { return peer_address_; }
  [[nodiscard]] base::SocketAddress local_address() const override { return local_address_; }

  // --- for tests ---
  // Breaks the connection for both ends, now; what has arrived is still read first.
  void Reset() { socket_->Reset(); }
  // From now on nothing arrives at either end.
  void Hang() { socket_->Hang(); }
  // This end fails to verify its peer.
  void FailVerification() { fails_verification_ = true; }
  // Faults in this end's direction (BreakAfter, Delay) and, by peer(), in the other.
  [[nodiscard]] SimSocket& socket() { return *socket_; }
  [[nodiscard]] bool is_closed() const { return state_ == State::kClosed; }
  [[nodiscard]] bool is_paused() const { return is_paused_; }

 private:
  friend class SimNet;
  enum class State : uint8_t { kConnecting, kOpen, kEnded, kClosed };
  enum class Tls : uint8_t { kNone, kAwaitsClient, kAwaitsServer, kAwaitsFinished, kUp };
  struct Reports {
    bool connected = false, drained = false, readable = false, handshake = false;
    io::StreamEnd end = io::StreamEnd::kNone;
  };

  explicit SimStream(SimNet& net);
  void OnArrival() override;
  void OnFlushed(size_t before_bytes) override;
  void ServeSoon();
  void Serve();
  void ServeReports();
  [[nodiscard]] bool WantsRead() const;
  void Take(SimSocket::Piece piece);
  void TakeEof();
  void TakeHandshake(base::ByteView bytes);
  void TakeMessage(base::ByteView message);
  void ShakeHands(base::ByteView message);
  void TlsUp();
  void FailTls(io::StreamEnd end, std::string error, base::ByteView alert);
  void EndWith(io::StreamEnd end);
  void EndLater(io::StreamEnd end);
  void Forget();
  // False if the stream has ended or was closed meanwhile.
  bool Report(Event event);
  [[nodiscard]] bool is_handshaking() const { return tls_ != Tls::kNone && tls_ != Tls::kUp; }

  SimNet& net_;
  std::shared_ptr<SimStream*> self_;  // null inside once this stream is gone
  std::shared_ptr<SimSocket> socket_;
  Observer* observer_ = nullptr;
  State state_ = State::kOpen;
  Tls tls_ = Tls::kNone;
  base::ByteQueue input_;
  std::string handshake_;  // a message that is not whole yet
  std::string server_name_;
  Reports reports_;
  size_t low_water_bytes_ = 0;
  io::StreamEnd end_ = io::StreamEnd::kNone;
  io::TlsFacts facts_;
  std::string tls_error_;
  base::SocketAddress peer_address_, local_address_;
  bool is_serve_posted_ = false;
  bool is_in_callback_ = false;
  bool is_paused_ = false;
  bool is_eof_ = false;
  bool is_write_shut_ = false;
  bool is_truncated_ = false;
  bool fails_verification_ = false;
};

class SimNet final : public io::Dialer {
 public:
  using Cut = SimCut;
  using Options = SimOptions;
  // How an address answers a dial. kShort: the dialling machine has no port or descriptor left.
  enum class Door : uint8_t { kOpen, kRefuses, kHangs, kShort };
  using OnAccept = std::function<void(std::unique_ptr<SimStream> stream)>;

  SimNet(SimLoop& loop, base::Rng& rng) : world_{loop, rng, options} {}
  SimNet(const SimNet&) = delete;
  SimNet& operator=(const SimNet&) = delete;

  Options options;  // may change at any time; holds for what is sent or read from then on

  // From now on; an address without a listener refuses.
  void Listen(const base::SocketAddress& address, OnAccept on_accept);
  void Listen(const std::string& unix_path, OnAccept on_accept);
  void SetDoor(const base::SocketAddress& address, Door door);
  void SetDoor(const std::string& unix_path, Door door);
  // Dials to this address fail verification when TLS is started.
  void SetBadCertificate(const base::SocketAddress& address, bool is_bad);

  // As the server sees it after one latency, and the client after two.
  [[nodiscard]] std::unique_ptr<io::Stream> Connect(const io::DialOptions& dial,
                                                    io::Stream::Observer& observer) override;
  // Both ends of an open connection: the client's, the server's.
  [[nodiscard]] std::pair<std::unique_ptr<SimStream>, std::unique_ptr<SimStream>> Pair(
      const base::SocketAddress& client, const base::SocketAddress& server);

  [[nodiscard]] uint64_t num_dials() const { return num_dials_; }
  // That are not deleted, of both sides.
  [[nodiscard]] size_t num_streams() const { return num_streams_; }
  // The most that any end was left with unsent: of those that dialled, and of the servers' of Pair.
  [[nodiscard]] size_t most_unsent_dialled() const { return most_unsent_dialled_; }
  [[nodiscard]] size_t most_unsent_accepted() const { return most_unsent_accepted_; }

 private:
  friend class SimStream;
  struct Place {
    Door door = Door::kRefuses;
    OnAccept on_accept;
    bool has_bad_certificate = false;
  };
  void Arrive(const std::shared_ptr<SimStream*>& dialled, const io::DialOptions& dial);
  void KeepLingering(std::shared_ptr<SimSocket> socket);

  SimWorld world_;
  std::vector<std::shared_ptr<SimSocket>> lingering_;
  size_t prune_at_ = 64;
  std::map<base::SocketAddress, Place> places_;
  std::map<std::string, Place> unix_places_;
  uint64_t num_dials_ = 0;
  size_t num_streams_ = 0;
  size_t most_unsent_dialled_ = 0, most_unsent_accepted_ = 0;
  uint16_t next_port_ = 32768;
};

}  // namespace postern::test
