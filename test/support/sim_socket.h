// sim_socket: one end of a TCP connection in memory: what the kernel and the wire do, not more.
//
// Bytes written go through a window of bounded size (the buffers of both kernels and the wire),
// take a latency each way, stay in order, and are read in pieces as the cut policy says. FIN, RST
// and the answer to bytes for a closed end are those of TCP on Linux: close with unread bytes
// resets, close without is a FIN behind what the window has taken, later bytes are answered by RST.
//
// Thread:   its SimLoop's.
// Tests:    test/io/sim_net_test.cc, test/io/sim_net_faults_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "lb/base/bytes.h"
#include "lb/base/clock.h"
#include "lb/base/rng.h"
#include "lb/io/stream.h"
#include "lb/io/timer.h"
#include "test/support/sim_loop.h"

namespace postern::test {

// How what has arrived is shown to its reader.
enum class SimCut : uint8_t {
  kWhole,   // all that is there
  kByByte,  // one byte a time
  kRandom,  // mostly up to 64 bytes, sometimes all
};

struct SimOptions {
  base::Duration latency = std::chrono::microseconds(200);  // one way
  size_t window_bytes = 64 << 10;  // on the way, or arrived and unread, per direction
  // An owner that neither consumes nor pauses gets no more than this.
  size_t max_input_bytes = 256 << 10;
  SimCut cut = SimCut::kWhole;
  // What both ends of a handshake report; server_name is overwritten.
  io::TlsFacts tls_facts{"TLSv1.3", "TLS_AES_128_GCM_SHA256", "X25519", "", false};
};

// What all sockets of one network share; outlives them.
struct SimWorld {
  SimLoop& loop;
  base::Rng& rng;
  const SimOptions& options;
};

class SimSocket : public std::enable_shared_from_this<SimSocket> {
 public:
  // What the bytes are, so that the toy TLS above can tell its own from others.
  enum class Kind : uint8_t { kClear, kHandshake, kInTls, kFin, kReset };
  struct Piece {
    Kind kind = Kind::kClear;
    std::string bytes;
  };
  class Owner {
   public:
    virtual void OnArrival() = 0;                     // there is something to Read
    virtual void OnFlushed(size_t before_bytes) = 0;  // unsent_bytes() fell from before_bytes

   protected:
    ~Owner() = default;
  };
  // How a connection breaks at a chosen byte: as Reset, as Hang, or this end says no more (what its
  // owner goes on to write is lost).
  enum class Break : uint8_t { kReset, kHang, kFin };

  explicit SimSocket(SimWorld& world);
  static void Join(const std::shared_ptr<SimSocket>& a, const std::shared_ptr<SimSocket>& b);

  void set_owner(Owner* owner) { owner_ = owner; }
  void SetConnecting() { is_connected_ = false; }
  void SetConnected();  // a dialled one: what was sent before goes out
  [[nodiscard]] std::shared_ptr<SimSocket> peer() const { return peer_.lock(); }

  void Send(Kind kind, base::ByteView bytes);
  void SendFin();
  [[nodiscard]] size_t unsent_bytes() const { return unsent_bytes_; }
  // Notes there the most that was ever unsent here; outlives the socket. Null: nowhere.
  void set_most_unsent(size_t* most_unsent) { most_unsent_ = most_unsent; }
  // The kernel refuses to send: the peer has reset.
  [[nodiscard]] bool is_broken() const { return is_broken_; }
  // ... while there were unsent bytes.
  [[nodiscard]] bool has_lost_bytes() const { return has_lost_bytes_; }

  enum class Amount : uint8_t { kAsCut, kAll };
  // What is next, of one kind, or nothing. kFin and kReset come behind all bytes, once.
  [[nodiscard]] std::optional<Piece> Read(Amount amount);
  [[nodiscard]] bool has_arrived() const { return !arrived_.empty(); }

  void Close();
  // As io::Stream::CloseGently; the owner is forgotten. Keep the socket until is_over().
  void CloseGently();
  [[nodiscard]] bool is_over() const { return is_closed_; }

  // --- faults, for tests ---
  void Reset();  // both ends hear of it at once; what has arrived is still read first
  void Hang();   // from now on nothing arrives, in either direction, not even an end
  // Breaks when that many bytes of this end (of any kind, from the start) have reached the peer.
  void BreakAfter(uint64_t sent_bytes, Break how);
  // What is sent from now on arrives this much later than it would.
  void Delay(base::Duration duration);
  // What was sent last has not arrived, and is due later than what is sent now would be.
  [[nodiscard]] bool is_late() const;
  [[nodiscard]] uint64_t total_sent_bytes() const { return total_sent_bytes_; }

 private:
  struct OnWire {
    base::MonoTime at;
    Piece piece;
  };
  void Pump();
  void PutOnWire(Piece piece);
  void Deliver();
  void AnswerWithReset();
  void BreakNow();
  void Arrive(Piece piece);
  void SetBroken();
  void OnPeerRead(size_t num_bytes);
  void Discard();
  void OnLinger();
  void ArmLinger();

  SimWorld& world_;
  Owner* owner_ = nullptr;
  std::weak_ptr<SimSocket> peer_;
  std::deque<Piece> unsent_;
  size_t unsent_bytes_ = 0;
  size_t* most_unsent_ = nullptr;
  size_t in_window_bytes_ = 0;
  std::deque<OnWire> wire_;
  base::MonoTime last_arrival_{};
  std::deque<Piece> arrived_;
  size_t num_read_bytes_ = 0;  // of the first of them
  uint64_t total_sent_bytes_ = 0;
  std::optional<uint64_t> break_after_bytes_;
  Break break_how_ = Break::kReset;
  base::MonoTime linger_until_{};
  io::Timer linger_;
  bool is_connected_ = true;
  bool has_peer_ = false;
  bool is_broken_ = false;
  bool has_lost_bytes_ = false;
  bool is_hung_ = false;
  bool is_fin_sent_ = false;  // queued, at least
  bool is_fin_seen_ = false;
  bool is_lingering_ = false;
  bool is_closed_ = false;
};

}  // namespace postern::test
