// keys: the rows.
// SPDX-License-Identifier: Apache-2.0
#include "conf/keys.h"

#include <algorithm>

#include "conf/values.h"
#include "lb/base/check.h"

namespace postern::conf {
namespace {

using T = Type;
using R = Reload;
constexpr R kNow = R::kAtOnce;
constexpr R kNew = R::kNewSessions;
constexpr R kRestart = R::kRestart;

constexpr std::string_view kProtocols = "smtp submission imap pop3 lmtp sieve tcp";

constexpr Key kTop[] = {
    {"$schema", T::kString, "", "", kNow,
     "Where editors find the JSON Schema (`postern schema` prints it); Postern does not read it."},
    Key{"hostname", T::kHostname, "", "", kNew,
        "The name that Postern greets with and gives to backends."}
        .Note("the system's"),
    {"node", T::kObject, "node", "", kNow, "Which of several Posterns this is."},
    {"workers", T::kCount, "0..1024", "0", kRestart, "Worker threads; 0: one per CPU."},
    {"tls", T::kObject, "tls", "", kNew, "Certificates and the TLS policy of both legs."},
    {"listeners", T::kObjectList, "listener", kRequired, kNow,
     "The addresses on which clients connect."},
    {"backends", T::kObjectMap, "backend", kRequired, kNew, "The mail servers, by name."},
    {"pools", T::kObjectMap, "pool", "", kNew, "Backends that can stand in for each other."},
    Key{"directories", T::kObjectMap, "directory", "", kNew,
        "Where the home of a user or recipient is looked up."},
    {"routes", T::kObjectListMap, "rule", kRequired, kNew,
     "Ordered lists of rules; the first that matches decides."},
    {"users", T::kObject, "users", "", kNew,
     "How a login name or recipient becomes the key of rules and directories."},
    {"health", T::kObject, "health", "", kNow, "How endpoints are checked; a pool can differ."},
    Key{"weights", T::kObject, "weights", "", kNow,
        "What moves weights besides the configured ones; a pool can differ."},
    {"limits", T::kObject, "limits", "", kNew, "Bounds; a listener can differ."},
    {"timeouts", T::kObject, "timeouts", "", kNew, "Deadlines; a listener can differ."},
    {"smtp", T::kObject, "smtp", "", kNew, "How SMTP messages and transactions are treated."},
    {"drain", T::kObject, "drain", "", kNow, "How sessions are ended before a stop."},
    {"metrics", T::kObject, "metrics", "", kNow, "How much detail the metrics have."},
    Key{"probes", T::kObjectMap, "probe", "", kNow,
        "Messages that Postern sends and looks for, to measure delivery."},
    {"admin", T::kObject, "admin", "", kNow, "Metrics, status and the API."},
    {"log", T::kObject, "log", "", kNow, "The process's log and the session log."},
};

constexpr Key kNode[] = {
    Key{"name", T::kName, "", "", kNow, "The node's name in metrics, logs and probes."}.Note(
        "`hostname`"),
    Key{"site", T::kName, "", "", kNow,
        "Where the node stands; backends of the same site come first."},
};

constexpr Key kTls[] = {
    {"certificates", T::kObjectList, "certificate", "", kNew,
     "Certificates; the client's SNI chooses, the first is for everything else. One that has "
     "expired is an error for "
     "`check` and a reload, and a loud warning at a start."},
    {"min_version", T::kWord, "1.2 1.3", "1.2", kNew, "The oldest TLS version accepted."},
    Key{"groups", T::kStrings, "", "", kNew,
        "Key exchange groups in order of preference, both legs; one that this build lacks is a "
        "warning, none left is an error."}
        .Note("the TLS library's"),
    Key{"ticket_keys", T::kPath, "", "", kNew,
        "File of session ticket keys shared by several nodes: one base64 key of 80 bytes a line, "
        "the "
        "first encrypts, all decrypt."}
        .Note("the process's own"),
};

constexpr Key kCertificate[] = {
    {"cert", T::kPath, "", kRequired, kNew, "PEM file: the certificate, then its chain."},
    {"key", T::kPath, "", kRequired, kNew, "PEM file: the private key."},
};

constexpr Key kListener[] = {
    {"name", T::kName, "", kRequired, kNew, "The listener's name in metrics, logs and rules."},
    Key{"protocol", T::kWord, kProtocols, kRequired, kNew,
        "What clients speak; `smtp` is for mail from other domains, `submission` for users who log "
        "in."},
    {"address", T::kSocketAddress, "", kRequired, kNow,
     "Where to listen, one or a list: \"0.0.0.0:993\", \"[::]:993\"; port 0: the system's choice."},
    Key{"tls", T::kWord, "none starttls implicit passthrough", "none", kNew,
        "TLS from the first byte (`implicit`), by STARTTLS or STLS, not at all, or passed on "
        "unopened "
        "(`passthrough`, tcp only)."}
        .Note("must be given, but for tcp: `none`"),
    {"route", T::kReference, "", kRequired, kNew, "The route that decides where sessions go."},
    {"auth_requires_tls", T::kBool, "", "true", kNew, "No login without TLS."},
    {"require_tls", T::kBool, "", "false", kNew,
     "Nothing without TLS: on smtp, MAIL is refused before STARTTLS."},
    {"accept_proxy_from", T::kNetworks, "", "", kNew,
     "Networks of proxies in front; they alone are served, and every connection must open with a "
     "PROXY header."},
    {"greet_delay", T::kDuration, "0ms..1m", "0s", kNew,
     "Pause before the greeting; who speaks during it is refused."},
    Key{"capabilities", T::kStrings, "", "", kNew,
        "What is announced, instead of what the eligible backends have in common; of SMTP only "
        "what "
        "Postern can parse. CHUNKING is offered whatever they have, BINARYMIME only where "
        "smtp.bare_newline is pass."}
        .Note("learned from the backends"),
    {"pass_refusal_text", T::kBool, "", "false", kNew,
     "A refused login is told in the backend's words, not in Postern's."},
    {"timeouts", T::kObject, "timeouts", "", kNew, "Deadlines that differ from the global ones."},
    {"limits", T::kObject, "limits", "", kNew, "Bounds that differ from the global ones."},
};

constexpr Key kBackend[] = {
    {"host", T::kHost, "", kRequired, kNew,
     "Address or name; a name is resolved again when its time to live has passed."},
    Key{"site", T::kName, "", "", kNew, "Where it stands."},
    Key{"priority", T::kCount, "0..1000", "0", kNew, "Lower comes first."},
    {"weight", T::kCount, "0..10000", "100", kNew, "Its share of new work; 0: none."},
    Key{"max_sessions", T::kCount, "0..10000000", "0", kNew,
        "Sessions at once, over all its endpoints; 0: no bound."},
    Key{"source_addresses", T::kAddressList, "", "", kNew,
        "Local addresses that connections to it come from."}
        .Note("the system's choice"),
    Key{"verify", T::kObjectOrWord, "verify off", "", kNew,
        "How its certificate is verified; \"off\" verifies nothing."}
        .Note("against the system's CAs and `host`"),
    Key{"queue", T::kObject, "queue", "", kNow, "Where the depth of its mail queue is read."},
    {"smtp", T::kObject, "endpoint", "", kNew, "Its endpoint for smtp listeners."},
    {"submission", T::kObject, "endpoint", "", kNew, "Its endpoint for submission listeners."},
    {"imap", T::kObject, "endpoint", "", kNew, "Its endpoint for imap listeners."},
    {"pop3", T::kObject, "endpoint", "", kNew, "Its endpoint for pop3 listeners."},
    {"lmtp", T::kObject, "endpoint", "", kNew,
     "Its endpoint for lmtp listeners, and for smtp listeners if it has no `smtp`."},
    {"sieve", T::kObject, "endpoint", "", kNew, "Its endpoint for sieve listeners."},
    {"tcp", T::kObject, "endpoint", "", kNew, "Its endpoint for tcp listeners."},
};

constexpr Key kEndpoint[] = {
    {"port", T::kPort, "1..65535", kRequired, kNew, "The port."},
    Key{"tls", T::kWord, "none starttls implicit", "none", kNew, "How Postern connects."}.Note(
        "must be given, but for tcp: `none`"),
    {"client_address", T::kWord, "none proxy-v1 proxy-v2 xclient imap-id", "none", kNew,
     "How the client's address is handed on: PROXY header (every protocol), XCLIENT (smtp, "
     "submission, lmtp, pop3), ID (imap)."},
    Key{"reauth", T::kWord, "replay xclient-login never", "replay", kNew,
        "How a user who has logged in elsewhere comes here with a submission transaction: by the "
        "same "
        "login, by Postern's word (XCLIENT LOGIN), or not at all; with `never` who logs in here "
        "stays."},
};

constexpr Key kVerify[] = {
    Key{"name", T::kHostname, "", "", kNew, "The name that the certificate must have."}.Note(
        "`host`"),
    Key{"ca", T::kPath, "", "", kNew, "PEM file of the CAs that are believed."}.Note(
        "the system's"),
    {"cert", T::kPath, "", "", kNew, "Client certificate for mutual TLS; with `key`."},
    {"key", T::kPath, "", "", kNew, "Its private key."},
};

constexpr Key kQueue[] = {
    {"source", T::kWord, "prometheus agent http_json showq", kRequired, kNow,
     "An exporter, an HAProxy agent, a JSON document, or Postfix's showq service."},
    {"soft", T::kNumber, "0..1e12", kRequired, kNow, "Depth up to which nothing changes."},
    {"hard", T::kNumber, "0..1e12", kRequired, kNow,
     "Depth from which the backend gets no new SMTP work while another can take it."},
    {"interval", T::kDuration, "100ms..1h", "15s", kNow, "How often it is read."},
    {"stale_after", T::kDuration, "100ms..24h", "2m", kNow,
     "Age from which a reading no longer counts."},
    Key{"url", T::kUrl, "http https", kRequired, kNow,
        "What is fetched; by https the certificate is verified as the backend's `verify` says."}
        .Only("prometheus http_json"),
    Key{"metric", T::kString, "", kRequired, kNow, "The metric's name."}.Only("prometheus"),
    Key{"labels", T::kStringMap, "", "", kNow, "Labels that its samples must have."}.Only(
        "prometheus"),
    Key{"combine", T::kWord, "sum max", "sum", kNow, "What becomes of several samples."}.Only(
        "prometheus"),
    Key{"headers", T::kSecretMap, "", "", kNow, "Headers of the request."}.Only(
        "prometheus http_json"),
    Key{"address", T::kPeer, "", kRequired, kNow, "`host:port`, or `unix:PATH`."}.Only(
        "agent showq"),
    Key{"send", T::kText, "", "", kNow, "What is sent to the agent first."}.Only("agent"),
    Key{"pointer", T::kString, "", kRequired, kNow, "JSON pointer of the number."}.Only(
        "http_json"),
    Key{"queues", T::kWords, "incoming active deferred hold maildrop", "incoming active", kNow,
        "The queues that are counted."}
        .Only("showq"),
};

constexpr Key kPool[] = {
    {"backends", T::kReferences, "", kRequired, kNew,
     "Its members; for a protocol, those of them that have the endpoint."},
    Key{"balance", T::kWord, "least_load round_robin hash first", "least_load", kNew,
        "How a member is chosen."},
    {"hash_on", T::kWord, "user client", "user", kNew,
     "What `hash` hashes: the user (on smtp and lmtp the recipient), or the client's address."},
    {"storage", T::kWord, "shared exclusive separate", "", kNew,
     "Whether its members have the same mailboxes: `shared` at any time, `exclusive` one member "
     "per user at a time, `separate` not at all. Must be said of two or more members that mailbox "
     "listeners can reach."},
    Key{"on_down", T::kWord, "closed open", "closed", kNew,
        "With every member down: refuse for now, or try them all the same."},
    Key{"spill_below", T::kNumber, "0..1", "0.5", kNow,
        "Healthy share under which the next priority is used as well."},
    {"health", T::kObject, "health", "", kNow, "Checks that differ from the global ones."},
    Key{"weights", T::kObject, "weights", "", kNow, "Weighing that differs from the global one."},
};

constexpr Key kHealth[] = {
    Key{"interval", T::kDuration, "100ms..1h", "5s", kNow, "Time between checks."},
    Key{"fast_interval", T::kDuration, "100ms..1h", "1s", kNow,
        "Time between checks while a state is in doubt."},
    Key{"timeout", T::kDuration, "10ms..10m", "10s", kNow, "Bound of a whole check."},
    Key{"rise", T::kCount, "1..100", "2", kNow, "Good checks in a row that bring an endpoint up."},
    Key{"fall", T::kCount, "1..100", "3", kNow, "Failed checks in a row that take it down."},
    Key{"slow_start", T::kDuration, "0ms..1h", "30s", kNow,
        "Time in which a returned endpoint's weight grows to its full."},
    {"cooldown", T::kDuration, "0ms..1h", "5s", kNow,
     "Time for which an endpoint is left alone after a session failed there."},
    Key{"hello", T::kHostname, "", "", kNow, "The name given in EHLO."}.Note("`hostname`"),
    Key{"relay_check", T::kBool, "", "true", kNow,
        "Whether smtp checks try, once a day, that the backend does not relay for anybody."},
    Key{"checks", T::kBool, "", "true", kNow,
        "Active checks; without them capabilities are learned once and only failures count."},
    Key{"login", T::kObject, "login", "", kNow,
        "Account that imap, pop3 and submission checks log in with."}
        .Note("no login step"),
    Key{"mail", T::kObject, "mail", "", kNow, "Envelope that smtp checks try, then reset."}.Note(
        "no MAIL step"),
};

constexpr Key kLogin[] = {
    {"user", T::kString, "", kRequired, kNow, "The login name."},
    {"password", T::kSecret, "", kRequired, kNow, "Its password."},
};

constexpr Key kMail[] = {
    {"from", T::kString, "", kRequired, kNow, "Sender; \"\" for the empty one."},
    {"to", T::kString, "", kRequired, kNow, "Recipient."},
};

constexpr Key kWeights[] = {
    Key{"latency", T::kBool, "", "true", kNow, "Whether slow endpoints get less."},
    Key{"queue", T::kBool, "", "true", kNow, "Whether backends with long queues get less."},
    Key{"min_factor", T::kNumber, "0.001..1", "0.05", kNow, "The least that a factor can become."},
    Key{"half_life", T::kDuration, "100ms..1h", "", kNow, "Half-life of the averages."}.Note(
        "the pool's check interval"),
};

constexpr Key kDirectory[] = {
    {"type", T::kWord, "file auth_http ldap redis", kRequired, kNew, "What kind it is."},
    Key{"timeout", T::kDuration, "10ms..1m", "2s", kNew, "Bound of an answer, per server."}.Only(
        "auth_http ldap redis"),
    Key{"cache", T::kObject, "cache", "", kNew, "How long answers are kept."}.Only(
        "auth_http ldap redis"),
    Key{"path", T::kPath, "", kRequired, kNew,
        "The map: a key and an answer per line; `#` starts a comment. A key is an address, a "
        "domain "
        "(`@example.com`) or a pattern (`*`); of several that match, that of fewer users counts."}
        .Only("file"),
    Key{"url", T::kUrls, "http https", "", kNew, "The server."}.Only("auth_http"),
    Key{"urls", T::kUrls, "http https ldap ldaps", "", kNew, "The servers, in order."}.Only(
        "auth_http ldap"),
    Key{"headers", T::kSecretMap, "", "", kNew, "Headers of the request."}.Only("auth_http"),
    Key{"allow_unlisted", T::kBool, "", "false", kNew,
        "Whether an answered address may be other than a configured endpoint."}
        .Only("auth_http"),
    Key{"starttls", T::kBool, "", "false", kNew, "STARTTLS on ldap:// URLs."}.Only("ldap"),
    Key{"ca", T::kPath, "", "", kNew, "PEM file of the CAs that are believed."}.Only("ldap").Note(
        "the system's"),
    Key{"bind_dn", T::kString, "", "", kNew, "Who binds."}.Only("ldap").Note("anonymous"),
    Key{"bind_password", T::kSecret, "", "", kNew, "With this password."}.Only("ldap"),
    Key{"base", T::kString, "", kRequired, kNew, "Where the search begins."}.Only("ldap"),
    Key{"filter", T::kString, "", kRequired, kNew,
        "The search filter, with %u (whole name), %n (local part), %d (domain)."}
        .Only("ldap"),
    Key{"attribute", T::kString, "", kRequired, kNew,
        "The attribute that holds the answer. An entry without it gives none; several values, or "
        "several entries, are a failure."}
        .Only("ldap"),
    Key{"addresses", T::kPeers, "", kRequired, kNew, "The servers, `host:port`, one or a list."}
        .Only("redis"),
    Key{"username", T::kString, "", "", kNew, "Who logs in."}.Only("redis"),
    Key{"password", T::kSecret, "", "", kNew, "With this password."}.Only("redis"),
    Key{"key", T::kString, "", "postern:%u", kNew, "The key, with %u, %n, %d."}.Only("redis"),
    Key{"field", T::kString, "", "", kNew, "The hash field (HGET)."}.Only("redis").Note(
        "none: GET"),
    Key{"table", T::kStringMap, "", "", kNew,
        "Patterns of answers, each with the pool or backend that it means; the first match counts."}
        .Only("ldap redis")
        .Note("answers are names"),
};

constexpr Key kCache[] = {
    {"hit", T::kDuration, "0ms..24h", "60s", kNew, "An answer."},
    {"miss", T::kDuration, "0ms..24h", "10s", kNew, "That there is none."},
    {"stale", T::kDuration, "0ms..168h", "1h", kNew, "An answer, while the directory fails."},
};

constexpr Key kRule[] = {
    Key{"name", T::kName, "", "", kNew, "The rule's name in metrics and explanations."}.Note(
        "RULE-1, RULE-2, ..."),
    Key{"listener", T::kReferences, "", "", kNew, "Holds on these listeners."}.Note("any"),
    Key{"client", T::kNetworks, "", "", kNew, "Holds for clients of these networks."}.Note("any"),
    Key{"sni", T::kPatterns, "", "", kNew, "Holds for these names asked for in TLS."}.Note("any"),
    Key{"user", T::kPatterns, "", "", kNew, "Holds for these canonical login names."}.Note("any"),
    Key{"recipient", T::kPatterns, "", "", kNew, "Holds for these canonical recipients."}.Note(
        "any"),
    Key{"percent", T::kNumber, "0..100", "", kNew,
        "Holds for this share of users, always the same ones."}
        .Note("all"),
    Key{"salt", T::kString, "", "", kNew, "Another salt chooses another share of users."},
    Key{"directory", T::kReference, "", "", kNew,
        "Asked if all else holds; no answer: the rule does not hold."},
    Key{"value", T::kPattern, "", "", kNew, "Pattern that the directory's answer must match."},
    Key{"on_error", T::kWord, "tempfail next", "tempfail", kNew,
        "What a failing directory means: refuse for now, or go to the next rule."},
    Key{"migrated", T::kBool, "", "false", kNew,
        "The operator's word that the mailboxes of a `percent` rule are where it leads."},
    {"mixed", T::kObjectOrWord, "mixed defer", "defer", kNew,
     "A recipient whose home is not the transaction's, which this rule gave: `defer` it to the "
     "next transaction, or {\"relay\": POOL}: send the whole transaction there. An endpoint of "
     "both homes is preferred to either."},
    {"pool", T::kReference, "", "", kNew, "Leads to this pool."},
    {"backend", T::kReference, "", "", kNew, "Leads to this backend."},
    {"reject", T::kReply, "5xx", "", kNew,
     "Refuses for good: an SMTP reply 5xx, elsewhere a refusal; \"\": no words of its own."},
    {"tempfail", T::kReply, "4xx", "", kNew, "Refuses for now: an SMTP reply 4xx."},
};

constexpr Key kMixed[] = {
    Key{"relay", T::kReference, "", kRequired, kNew, "The pool that can take every recipient."},
};

constexpr Key kUsers[] = {
    {"rewrite", T::kObjectList, "rewrite", "", kNew, "Rewritings, each applied in turn, first."},
    {"lowercase", T::kBool, "", "true", kNew, "Lower case, second."},
    {"default_domain", T::kHostname, "", "", kNew, "Added to a name without a domain, third."},
    {"strip_extension", T::kString, "", "+", kNew,
     "Cut the local part at one of these characters, last; \"\": off."},
    {"send_rewritten", T::kBool, "", "false", kNew,
     "Whether the backend gets the rewritten name, not what the client typed."},
};

constexpr Key kRewrite[] = {
    {"match", T::kRegex, "", kRequired, kNew, "Regular expression (RE2)."},
    {"to", T::kString, "", kRequired, kNew, "Its replacement, with \\1 to \\9."},
};

constexpr Key kLimits[] = {
    {"sessions", T::kCount, "1..10000000", "100000", kNew, "Sessions at once."},
    Key{"sessions_per_address", T::kCount, "1..10000000", "", kNew,
        "Sessions at once from one address."}
        .Note("100 on smtp, 2000 elsewhere"),
    {"auth_failures_per_address", T::kRate, "", "10/10m", kNew,
     "Different users refused at one address before it is blocked; more refusals of one user "
     "block that user there."},
    {"auth_failures", T::kCount, "1..1000", "3", kNew, "Refused logins in a session."},
    {"bad_commands", T::kCount, "1..100000", "10", kNew, "Commands not understood in a session."},
    {"line", T::kSize, "512B..1MiB", "8KiB", kNew,
     "A line: SMTP commands, IMAP and POP3 before login; never message text."},
    {"sasl_line", T::kSize, "512B..1MiB", "16KiB", kNew, "A line of a SASL exchange."},
    {"literal", T::kSize, "64B..1MiB", "8KiB", kNew, "An IMAP literal before login."},
    {"recipients", T::kCount, "1..100000", "1000", kNew, "Recipients of a transaction."},
    {"reply_lines", T::kCount, "1..10000", "128", kNew, "Lines of a backend's reply."},
    {"message", T::kSize, "1KiB..1024GiB", "50MiB", kNew, "An SMTP message."},
    {"buffer", T::kSize, "4KiB..64MiB", "256KiB", kNew,
     "Bytes that may wait for a slow peer before reading from the other stops."},
    {"buffers_total", T::kSize, "1MiB..1024GiB", "1GiB", kNew,
     "The same, all sessions together: with it used up, a leg takes more only when it is empty."},
    {"exempt", T::kNetworks, "", "", kNew,
     "Networks free of the limits per address: webmail, own relays."},
};

constexpr std::string_view kDeadline = "10ms..24h";
constexpr Key kTimeouts[] = {
    {"tls", T::kDuration, kDeadline, "10s", kNew, "Client: the handshake."},
    Key{"login", T::kDuration, kDeadline, "", kNew,
        "Client: from accept to login; on smtp to the first MAIL."}
        .Note("60s; 5m on smtp"),
    {"command", T::kDuration, kDeadline, "5m", kNew,
     "Client: one command line, before login and in SMTP."},
    {"data", T::kDuration, kDeadline, "5m", kNew, "Client: renewed by every 4 KiB of message."},
    {"idle", T::kDuration, "10ms..168h", "35m", kNew, "Client: silence after login."},
    {"auth_failure_delay", T::kDuration, "0ms..1m", "2s", kNew,
     "Client: the least time from a password to its refusal."},
    {"connect", T::kDuration, kDeadline, "3s", kNew, "Backend: the connection."},
    {"greeting", T::kDuration, kDeadline, "10s", kNew,
     "Backend: from the connection to the last reply before login."},
    {"auth", T::kDuration, kDeadline, "20s", kNew, "Backend: the login's answer."},
    {"reply", T::kDuration, kDeadline, "90s", kNew, "Backend: MAIL, RCPT, RSET."},
    {"data_start", T::kDuration, kDeadline, "30s", kNew, "Backend: the answer to DATA."},
    {"data_block", T::kDuration, kDeadline, "3m", kNew, "Backend: taking a block of message."},
    {"data_done", T::kDuration, kDeadline, "10m", kNew, "Backend: the answer to a message."},
};

constexpr Key kSmtp[] = {
    {"bare_newline", T::kWord, "reject normalize pass", "reject", kNew,
     "A CR or LF alone in a message, by DATA or in chunks: refuse it, make it CRLF, or pass it on. "
     "Servers behind that take one for a line end are protected by the first two."},
    {"replay_memory", T::kSize, "4KiB..1GiB", "256KiB", kNew,
     "Message bytes kept in memory, so that the transaction can move to another backend."},
    {"replay_memory_total", T::kSize, "1MiB..1024GiB", "256MiB", kNew,
     "The same, all sessions together; beyond it spool files are used."},
    Key{"replay_limit", T::kSize, "4KiB..1024GiB", "50MiB", kNew,
        "Message bytes kept in memory and spool file; a longer message goes on, but cannot move."},
    Key{"spool_dir", T::kPath, "", "/var/spool/postern", kNew,
        "Where spool files (which have no name) are made: an existing directory, on a disk."},
    Key{"spool_total", T::kSize, "0B..1048576GiB", "4GiB", kNew,
        "All spool files together; 0: none are made."},
    {"retries", T::kCount, "0..100", "2", kNew, "Times that a transaction may move."},
    Key{"commit", T::kWord, "streaming after_data", "streaming", kNew,
        "Whether a message goes to a backend while it comes, or behind its end: a slow client then "
        "holds none. Recipients are accepted by their route alone, and what the backend says of "
        "them is the answer to the message. One that is too long to be kept goes on as it comes."},
    {"legs", T::kObject, "legs", "", kNew, "Connections to backends that wait for more work."},
};

constexpr Key kLegs[] = {
    {"idle", T::kDuration, "0ms..5m", "10s", kNew,
     "How long one waits for its client's next transaction and, where client_address is `none` "
     "and nobody has logged in, for the next client's (16 at most, a worker and endpoint)."},
    {"transactions", T::kCount, "1..100000", "100", kNew, "Transactions on one connection."},
};

constexpr Key kDrain[] = {
    {"spread", T::kDuration, "0ms..24h", "30s", kNow, "Time over which goodbyes are spread."},
    {"deadline", T::kDuration, "0ms..168h", "10m", kNow,
     "Time after which the remaining sessions are cut."},
    Key{"upgrade_deadline", T::kDuration, "0ms..8760h", "24h", kNow,
        "Time for which the old process says no goodbye after an upgrade."},
};

constexpr Key kMetrics[] = {
    Key{"phase_histograms", T::kWord, "backend pool", "backend", kNow,
        "Label of the phase histograms; `pool` for very many backends."},
};

constexpr Key kProbe[] = {
    {"interval", T::kDuration, "100ms..24h", "60s", kNow, "How often."},
    {"timeout", T::kDuration, "100ms..24h", "2m", kNow, "When a message counts as not found."},
    {"from", T::kString, "", kRequired, kNow, "Sender, an address alone; \"\" for the empty one."},
    {"to", T::kString, "", kRequired, kNow, "Recipient, an address alone."},
    {"send", T::kObject, "send", kRequired, kNow, "Through what it is sent."},
    Key{"login", T::kObject, "login", "", kNow, "Account that sends."}.Note("none"),
    {"find", T::kObject, "find", kRequired, kNow, "Where it is looked for."},
};

constexpr Key kSend[] = {
    {"listener", T::kReference, "", "", kNow,
     "An smtp or submission listener of this Postern, as a client would."},
    {"pool", T::kReference, "", "", kNow, "A pool."},
    {"backend", T::kReference, "", "", kNow, "A backend."},
};

constexpr Key kFind[] = {
    {"pool", T::kReference, "", "", kNow, "The pool whose imap endpoints are asked."},
    {"backend", T::kReference, "", "", kNow, "The backend that is asked instead."},
    {"user", T::kString, "", kRequired, kNow, "Login name of the recipient."},
    {"password", T::kSecret, "", kRequired, kNow, "Its password."},
    {"mailbox", T::kString, "", "INBOX", kNow,
     "Mailbox that is searched, as IMAP writes it (ASCII)."},
};

constexpr Key kAdmin[] = {
    {"address", T::kSocketAddress, "", "", kRestart,
     "Where the admin HTTP listens, one or a list; off loopback it needs `token_file`."},
    {"socket", T::kPath, "", "", kRestart,
     "Unix socket of the same; its permissions are its guard."},
    {"token_file", T::kPath, "", "", kNow,
     "File with the bearer token of changes, and of reads off loopback."},
};

constexpr Key kLog[] = {
    {"level", T::kWord, "error warn info debug", "info", kNow, "The least that is logged."},
    {"format", T::kWord, "json logfmt", "json", kNow, "The form of a line."},
    {"sessions", T::kPathOrWord, "stdout off", "stdout", kNow,
     "Where the session log goes: `stdout`, `off`, or a file."},
};

constexpr ObjectInfo kObjects[] = {
    {ObjectKind::kTop, "top", "/", "", kTop, "The whole file."},
    {ObjectKind::kNode, "node", "/node", "", kNode, ""},
    {ObjectKind::kTls, "tls", "/tls", "", kTls, ""},
    {ObjectKind::kCertificate, "certificate", "/tls/certificates/N", "", kCertificate, ""},
    {ObjectKind::kListener, "listener", "/listeners/N", "", kListener, ""},
    {ObjectKind::kBackend, "backend", "/backends/NAME", "", kBackend,
     "It needs one endpoint at least."},
    {ObjectKind::kEndpoint, "endpoint", "/backends/NAME/PROTOCOL", "", kEndpoint, ""},
    {ObjectKind::kVerify, "verify", "/backends/NAME/verify", "", kVerify, ""},
    {ObjectKind::kQueue, "queue", "/backends/NAME/queue", "source", kQueue, ""},
    {ObjectKind::kPool, "pool", "/pools/NAME", "", kPool, ""},
    {ObjectKind::kHealth, "health", "/health /pools/NAME/health", "", kHealth,
     "A pool's own keys are laid over the global ones."},
    {ObjectKind::kLogin, "login", "/health/login /pools/NAME/health/login /probes/NAME/login", "",
     kLogin, ""},
    {ObjectKind::kMail, "mail", "/health/mail /pools/NAME/health/mail", "", kMail, ""},
    {ObjectKind::kWeights, "weights", "/weights /pools/NAME/weights", "", kWeights,
     "A pool's own keys are laid over the global ones."},
    {ObjectKind::kDirectory, "directory", "/directories/NAME", "type", kDirectory, ""},
    {ObjectKind::kCache, "cache", "/directories/NAME/cache", "", kCache, ""},
    {ObjectKind::kRule, "rule", "/routes/NAME/N", "", kRule,
     "Conditions (all must hold), then one of `pool`, `backend`, `reject` and `tempfail`, or none "
     "where the directory's answer is the target."},
    {ObjectKind::kMixed, "mixed", "/routes/NAME/N/mixed", "", kMixed, ""},
    {ObjectKind::kUsers, "users", "/users", "", kUsers, ""},
    {ObjectKind::kRewrite, "rewrite", "/users/rewrite/N", "", kRewrite, ""},
    {ObjectKind::kLimits, "limits", "/limits /listeners/N/limits", "", kLimits,
     "A listener's own keys are laid over the global ones."},
    {ObjectKind::kTimeouts, "timeouts", "/timeouts /listeners/N/timeouts", "", kTimeouts,
     "A listener's own keys are laid over the global ones."},
    {ObjectKind::kSmtp, "smtp", "/smtp", "", kSmtp, ""},
    {ObjectKind::kLegs, "legs", "/smtp/legs", "", kLegs, ""},
    {ObjectKind::kDrain, "drain", "/drain", "", kDrain, ""},
    {ObjectKind::kMetrics, "metrics", "/metrics", "", kMetrics, ""},
    {ObjectKind::kProbe, "probe", "/probes/NAME", "", kProbe, ""},
    {ObjectKind::kSend, "send", "/probes/NAME/send", "", kSend, "One of the three."},
    {ObjectKind::kFind, "find", "/probes/NAME/find", "", kFind, ""},
    {ObjectKind::kAdmin, "admin", "/admin", "", kAdmin, ""},
    {ObjectKind::kLog, "log", "/log", "", kLog, ""},
};

constexpr bool IsInOrder() {
  for (size_t i = 0; i < std::size(kObjects); ++i)
    if (static_cast<size_t>(kObjects[i].kind) != i) return false;
  return std::size(kObjects) == static_cast<size_t>(ObjectKind::kLog) + 1;
}
static_assert(IsInOrder(), "one row per kind, in the order of ObjectKind");

bool HasWord(std::string_view words, std::string_view word) {
  const auto parts = Split(words);
  return std::find(parts.begin(), parts.end(), word) != parts.end();
}

}  // namespace

bool Key::AppliesTo(std::string_view variant) const {
  return only.empty() || HasWord(only, variant);
}

const Key* ObjectInfo::Find(std::string_view key) const {
  for (const Key& row : keys)
    if (row.key == key) return &row;
  return nullptr;
}

std::vector<std::string_view> ObjectInfo::Names() const {
  std::vector<std::string_view> names;
  for (const Key& row : keys) names.push_back(row.key);
  return names;
}

const ObjectInfo& Info(ObjectKind kind) {
  return kObjects[static_cast<size_t>(kind)];
}

const ObjectInfo* FindKind(std::string_view name) {
  for (const ObjectInfo& info : kObjects)
    if (info.name == name) return &info;
  return nullptr;
}

std::span<const ObjectInfo> AllObjects() {
  return kObjects;
}

}  // namespace postern::conf
