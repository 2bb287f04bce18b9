// tls_engine: TLS as a byte transformer: ciphertext in, plaintext out, and the other way round.
//
// Does not: own a socket, wait, or call back. All buffers belong to the worker (TlsBuffers) and are
// empty between two calls, but for the ciphertext of a record that is not complete yet, which the
// library keeps itself; an idle engine is one SSL object of about 2.5 KiB.
// Order:    Feed, then Handshake until it is done, then Read; whatever was called, what is to be
//           sent lies in TlsBuffers::Output() afterwards and must be taken before the next call to
//           any engine of the worker.
// Rules:    no renegotiation, no early data; after a fatal alert nothing but the alert goes out.
// Owner:    one stream.   Thread: its worker's; no locks.
// Why so:   a memory BIO pair costs four times as much per MiB, a socket BIO two reads a record.
// Tests:    test/tls/tls_engine_test.cc, test/net/socket_stream_tls_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "lb/base/bytes.h"
#include "lb/io/stream.h"

struct ssl_st;
struct bio_st;
struct bio_method_st;

namespace postern::tls {

// The receive cursor, the plaintext scratch and the transmit buffer of one worker.
class TlsBuffers {
 public:
  // Ciphertext given to one Feed, and plaintext to one Write, at most.
  static constexpr size_t kMaxFeedBytes = 256 << 10;
  static constexpr size_t kMaxWriteBytes = 256 << 10;

  TlsBuffers();
  ~TlsBuffers();
  TlsBuffers(const TlsBuffers&) = delete;
  TlsBuffers& operator=(const TlsBuffers&) = delete;

  // What an engine wants sent; valid until the next call to any engine.
  [[nodiscard]] base::ByteView Output() const { return output_; }
  void ClearOutput() { output_.clear(); }

 private:
  friend class TlsEngine;
  static int OnRead(bio_st* bio, char* out, int size_bytes);
  static int OnWrite(bio_st* bio, const char* bytes, int size_bytes);
  static long OnControl(bio_st* bio, int command, long number, void* pointer);
  [[nodiscard]] static const bio_method_st* Method();

  // A record that was incomplete before adds its plaintext to that of a whole Feed.
  static constexpr size_t kPlainBytes = kMaxFeedBytes + (32 << 10);

  bio_st* bio_ = nullptr;  // shared by all engines of the worker, which saves 200 bytes in each
  base::ByteView input_;   // the cursor: ciphertext not taken yet
  std::string output_;
  std::unique_ptr<char[]> plain_;
};

class TlsEngine {
 public:
  enum class Status : uint8_t {
    kOk,       // goes on; more ciphertext is wanted
    kDone,     // Handshake: finished.  Read: the peer sent close_notify
    kFailed,   // error() says why
    kRejected  // Handshake, client role: the peer's certificate was not acceptable
  };

  // No engine yet.
  TlsEngine() = default;
  TlsEngine(TlsEngine&& other) noexcept;
  TlsEngine& operator=(TlsEngine&& other) noexcept;
  ~TlsEngine();

  // The settings are a TlsServerContext or a TlsClientContext, as the role says. False: error().
  [[nodiscard]] bool Start(TlsBuffers& buffers, const io::TlsRequest& request);
  [[nodiscard]] bool started() const { return ssl_ != nullptr; }

  // Lends ciphertext (at most kMaxFeedBytes) to the next Handshake and Read, which use it up.
  void Feed(base::ByteView ciphertext);
  [[nodiscard]] Status Handshake();
  // Everything that can be decrypted now; plain lies in the worker's scratch and is valid until the
  // next Read of any engine. It may be non-empty whatever the status.
  [[nodiscard]] Status Read(base::ByteView* plain);
  // At most kMaxWriteBytes; false if the connection is broken.
  [[nodiscard]] bool Write(base::ByteView plain);
  // close_notify, once; nothing during a handshake.
  void Shutdown();

  // After the handshake.
  [[nodiscard]] io::TlsFacts Facts() const;
  // Why the last call failed, for logs and operators. Never a peer's bytes.
  [[nodiscard]] std::string TakeError();

 private:
  void Point();
  [[nodiscard]] Status Fail(int ssl_error);

  ssl_st* ssl_ = nullptr;
  TlsBuffers* buffers_ = nullptr;
  std::unique_ptr<std::string> error_;
  bool is_client_ = false;
  bool is_up_ = false;
};

}  // namespace postern::tls
