// stream: one connection, in clear or inside TLS, as its owner sees it: bytes to read, bytes to
// write, an end.
//
// Pull: the observer hears *that* something happened and then looks at Input(), takes what it can
// (Consume) and writes. Nothing is called back from within a method of the stream, so an owner may
// do what it likes in OnStream but delete the stream (close it, and Post the deletion).
// Implementations: net::SocketStream; test/support/sim_stream.
// Thread:   its loop's.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lb/base/address.h"
#include "lb/base/bytes.h"
#include "lb/base/clock.h"

namespace postern::io {

// TLS settings of a listener or of an endpoint; made by lb/tls, opaque to everybody else.
class TlsSettings {
 public:
  virtual ~TlsSettings() = default;
  // Client role: until when the certificate is valid that was verified last; nothing before.
  [[nodiscard]] virtual std::optional<base::WallTime> peer_not_after() const {
    return std::nullopt;
  }
};

enum class TlsRole : uint8_t { kServer, kClient };

struct TlsRequest {
  TlsRole role = TlsRole::kServer;
  // Must live until the handshake has ended.
  const TlsSettings* settings = nullptr;
  // What Input() holds is the start of the handshake already (it came behind a PROXY header, in
  // one packet). Else Input() must be empty.
  bool input_is_ciphertext = false;
  // Client role: the name for SNI (not sent if it is an address). Verification is in the settings.
  std::string server_name{};
};

// What was agreed, once the handshake is done.
struct TlsFacts {
  std::string version;      // "TLSv1.3"
  std::string cipher;       // "TLS_AES_128_GCM_SHA256"
  std::string group;        // "X25519"; empty if resumed without a key exchange
  std::string server_name;  // SNI as sent by the client, lower case; empty if none
  bool is_resumed = false;
};

// Why a stream has ended. kNone: it has not.
enum class StreamEnd : uint8_t {
  kNone,
  kEof,      // the peer closed its direction, cleanly (TLS: close_notify, or a bare FIN of a client
             // that spoke no more; truncated() tells). Writing is still possible.
  kRefused,  // connect: RST, unreachable
  kReset,    // RST or another error in the middle
  kTlsFailed,  // handshake or record failure other than verification; tls_error() has the text
  kTlsVerify,  // the backend's certificate was not acceptable; tls_error() says why
  kLocal,      // connect: no descriptor, port or memory of our own; says nothing about the peer
};

class Stream {
 public:
  enum class Event : uint8_t {
    kConnected,  // of a dialled stream
    kReadable,   // Input() has grown
    kDrained,    // Unsent() has fallen to zero, or below the low-water mark
    kTlsUp,      // handshake done, tls_facts() is filled
    kEnd,  // end() says why; after any Input() that came before. kEof comes at most once, any other
           // end is the last event.
  };
  class Observer {
   public:
    virtual void OnStream(Stream& stream, Event event) = 0;

   protected:
    ~Observer() = default;
  };

  virtual ~Stream() = default;  // closes at once, without a word to the peer

  // Who hears of events from now on; never null after the first.
  virtual void SetObserver(Observer* observer) = 0;

  // Bytes received and not consumed yet; valid until Consume, StartTls or the return of OnStream.
  // What is left unconsumed when OnStream returns is kept and will be seen again in front of new
  // bytes.
  [[nodiscard]] virtual base::ByteView Input() const = 0;
  virtual void Consume(size_t num_bytes) = 0;
  // Stops, or goes on with, reading from the peer. A paused stream reports neither kReadable nor
  // kEof. ResumeReads reports again at once (later in the same loop iteration) if Input() is not
  // empty.
  virtual void PauseReads() = 0;
  virtual void ResumeReads() = 0;

  // Takes all bytes; what the socket does not take now is copied and sent later.
  virtual void Write(base::ByteView bytes) = 0;
  // As Write, of bytes that another Write follows at once: they may share its packet.
  virtual void WritePart(base::ByteView bytes) { Write(bytes); }
  // From now on the owner does nothing with Input() but write it to `sink`, so this stream may do
  // that itself, unseen: it then reports kReadable, with TakeForwarded() in place of Input(). The
  // owner goes on as before otherwise: it writes and consumes what Input() holds, and pauses this
  // stream while the sink has something unsent. Both are closed in one go. False: will not (TLS, or
  // not a socket); nothing has changed.
  [[nodiscard]] virtual bool ForwardTo(Stream& /*sink*/) { return false; }
  // Bytes forwarded since the last call.
  [[nodiscard]] virtual size_t TakeForwarded() { return 0; }

  // Bytes taken by Write (inside TLS: their ciphertext) that the kernel has not taken yet.
  [[nodiscard]] virtual size_t Unsent() const = 0;
  // kDrained is reported when Unsent() falls to this (default 0).
  virtual void SetLowWater(size_t num_bytes) = 0;

  // Starts a handshake after everything written so far has been sent in clear. Input() must be
  // empty: bytes that came before TLS never survive it. Until kTlsUp, Write is not allowed.
  virtual void StartTls(const TlsRequest& request) = 0;
  [[nodiscard]] virtual bool in_tls() const = 0;
  // Null before kTlsUp and in clear.
  [[nodiscard]] virtual const TlsFacts* tls_facts() const = 0;
  [[nodiscard]] virtual std::string tls_error() const = 0;

  // Closes our direction after all that was written: close_notify, FIN. Reading goes on.
  virtual void ShutdownWrite() = 0;
  // ShutdownWrite, then closes once everything was sent and the peer has closed too, or the linger
  // time is over (2 s after the last byte; while bytes are unsent, 10 s without progress, 60 s at
  // most); no more events. The stream may be deleted at once: the loop carries on alone.
  virtual void CloseGently() = 0;
  // Closes at once; no more events.
  virtual void Close() = 0;

  [[nodiscard]] virtual StreamEnd end() const = 0;
  // kEof inside TLS without close_notify.
  [[nodiscard]] virtual bool truncated() const = 0;
  [[nodiscard]] virtual base::SocketAddress peer_address() const = 0;
  [[nodiscard]] virtual base::SocketAddress local_address() const = 0;
};

}  // namespace postern::io
