// dialogue_leg: drives one dialogue over one connection: dials the addresses in turn, does TLS,
// keeps the deadline.
//
// Limits:   connecting: LegPlan::connect, over all addresses; everything: the owner's deadline; the
//           wait for the answer to a goodbye: the owner's too.
// Owner:    a delivery_round.   Thread: the health loop's.
// Tests:    test/health/delivery_probes_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "health/dialogue.h"
#include "lb/base/address.h"
#include "lb/base/clock.h"
#include "lb/io/dialer.h"
#include "lb/io/loop.h"
#include "lb/io/stream.h"
#include "lb/io/timer.h"

namespace postern::health {

struct LegPlan {
  std::vector<base::IpAddress> addresses;  // tried in turn
  uint16_t port = 0;
  std::vector<base::IpAddress> sources;              // at most one of a family is used
  std::shared_ptr<const io::TlsSettings> tls;        // null: in clear
  std::string server_name;                           // for SNI
  base::Duration connect = std::chrono::seconds(3);  // for all addresses together
};

class DialogueLeg final : public io::Stream::Observer {
 public:
  enum class Event : uint8_t {
    kTurn,  // the dialogue has carried out an order
    kOver,  // the last word: see fault()
  };
  using OnEvent = std::function<void(Event event)>;

  // The dialogue outlives the leg.
  DialogueLeg(io::Loop& loop, io::Dialer& dialer, LegPlan plan, Dialogue& dialogue,
              OnEvent on_event);
  ~DialogueLeg();

  void Start(base::MonoTime deadline);
  void SetDeadline(base::MonoTime deadline) { deadline_.ArmAt(deadline); }
  // What an order to the dialogue wants said.
  void Say(std::string out);
  // Without a word more to the owner; the server is told where that is possible.
  void Abandon();
  // Nothing: it ended as it should.
  [[nodiscard]] const std::optional<DialogueFault>& fault() const { return fault_; }

 private:
  void OnStream(io::Stream& stream, io::Stream::Event event) override;
  void Dial();
  void OnDialDeadline();
  void OnDeadline();
  void OnEnd();
  void StartTls();
  void Take(const std::function<Dialogue::Step(std::string& out)>& first);
  void TellTurn();
  void Fail(base::FaultKind kind, std::string why);
  void Finish();
  void DropStream();

  io::Loop& loop_;
  io::Dialer& dialer_;
  const LegPlan plan_;
  Dialogue& dialogue_;
  OnEvent on_event_;  // null: it is over
  io::Timer deadline_;
  io::Timer dial_deadline_;
  base::MonoTime connect_until_;
  size_t num_dialled_ = 0;
  std::unique_ptr<io::Stream> stream_;
  bool is_connected_ = false;
  bool is_handshaking_ = false;
  std::optional<DialogueFault> fault_;
};

}  // namespace postern::health
