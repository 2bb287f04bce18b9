// ldap_search: connect, StartTLS, bind, search: libldap's calls, each with what time is left.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/ldap_search.h"

#include <ldap.h>
#include <sys/time.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "lb/base/secret.h"

namespace postern::directory {
namespace {

constexpr size_t kMaxTextBytes = 2 << 10;

struct FreeMessage {
  void operator()(LDAPMessage* message) const { ldap_msgfree(message); }
};
using Message = std::unique_ptr<LDAPMessage, FreeMessage>;

// Never zero, which libldap takes for "do not wait" in one place and "for ever" in another.
timeval LeftUntil(base::MonoTime deadline) {
  const auto left =
      std::max<base::Duration>(deadline - base::SystemClock().Now(), std::chrono::milliseconds(1));
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(left).count();
  return {us / 1'000'000, us % 1'000'000};
}

bool IsOfServer(int code) {
  switch (code) {
    case LDAP_FILTER_ERROR:
    case LDAP_PARAM_ERROR:
      return false;
    case LDAP_OPERATIONS_ERROR:  // Active Directory: nobody is bound any more
    case LDAP_TIMELIMIT_EXCEEDED:
    case LDAP_BUSY:
    case LDAP_UNAVAILABLE:
      return true;
    default:
      return code < 0;  // libldap's own: no connection, no answer in time, what is no LDAP
  }
}

}  // namespace

struct LdapSearch::Impl {
  explicit Impl(const LdapSettings& its_settings) : settings(its_settings) {}
  ~Impl() {
    if (ld != nullptr) ldap_unbind_ext_s(ld, nullptr, nullptr);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  // "bind: Invalid credentials (49): what the server adds"
  std::string Words(std::string_view step, int code) const {
    std::string words(step);
    words.append(": ").append(ldap_err2string(code));
    words += " (" + std::to_string(code) + ")";
    char* more = nullptr;
    if (ld != nullptr && ldap_get_option(ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, &more) == 0 &&
        more != nullptr) {
      if (*more != '\0') words.append(": ").append(more);
      ldap_memfree(more);
    }
    return words.substr(0, kMaxTextBytes);
  }
  // Of what has no deadline of its own.
  void SetTimeouts(base::MonoTime deadline) {
    const timeval left = LeftUntil(deadline);
    ldap_set_option(ld, LDAP_OPT_NETWORK_TIMEOUT, &left);
    ldap_set_option(ld, LDAP_OPT_TIMEOUT, &left);
  }
  bool SetTls() {
    const int demand = LDAP_OPT_X_TLS_DEMAND;
    const int is_server = 0;
    return ldap_set_option(ld, LDAP_OPT_X_TLS_CACERTFILE, settings.ca.c_str()) == 0 &&
           ldap_set_option(ld, LDAP_OPT_X_TLS_REQUIRE_CERT, &demand) == 0 &&
           ldap_set_option(ld, LDAP_OPT_X_TLS_NEWCTX, &is_server) == 0;
  }
  // The answer to a request under way, or null: an error of the connection, in `code`.
  Message Await(int id, base::MonoTime deadline, int& code) {
    timeval left = LeftUntil(deadline);
    LDAPMessage* raw = nullptr;
    const int type = ldap_result(ld, id, LDAP_MSG_ALL, &left, &raw);
    if (type > 0) return Message(raw);
    code = LDAP_TIMEOUT;
    if (type < 0 && (ldap_get_option(ld, LDAP_OPT_RESULT_CODE, &code) != 0 || code == LDAP_SUCCESS))
      code = LDAP_SERVER_DOWN;
    return nullptr;
  }
  // The connection, open to this URL; text: what does not work.
  std::string Connect(const std::string& url, base::MonoTime deadline) {
    int code = ldap_initialize(&ld, url.c_str());
    if (code != LDAP_SUCCESS) return Words("URL", code);
    const int version = LDAP_VERSION3;
    ldap_set_option(ld, LDAP_OPT_PROTOCOL_VERSION, &version);
    ldap_set_option(ld, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
    ldap_set_option(ld, LDAP_OPT_RESTART, LDAP_OPT_ON);
    SetTimeouts(deadline);
    const bool is_ldaps = url.starts_with("ldaps");
    if ((is_ldaps || settings.starttls) && !SetTls())
      return "TLS: the CAs of " + settings.ca + " cannot be used";
    if (settings.starttls && !is_ldaps) {
      code = ldap_start_tls_s(ld, nullptr, nullptr);
      if (code != LDAP_SUCCESS) return Words("StartTLS", code);
      SetTimeouts(deadline);
    }
    return Bind(deadline);
  }
  std::string Bind(base::MonoTime deadline) {
    if (settings.bind_dn.empty()) return {};
    std::string password(settings.bind_password.Reveal());
    berval secret{password.size(), password.data()};
    int id = 0;
    int code = ldap_sasl_bind(ld, settings.bind_dn.c_str(), LDAP_SASL_SIMPLE, &secret, nullptr,
                              nullptr, &id);
    base::WipeString(password);
    if (code != LDAP_SUCCESS) return Words("connect", code);
    const Message answer = Await(id, deadline, code);
    if (answer == nullptr) return Words("bind", code);
    const int parsed =
        ldap_parse_result(ld, answer.get(), &code, nullptr, nullptr, nullptr, nullptr, 0);
    if (parsed != LDAP_SUCCESS) code = parsed;
    return code == LDAP_SUCCESS ? std::string() : Words("bind", code);
  }

  const LdapSettings& settings;
  LDAP* ld = nullptr;
};

LdapSearch::LdapSearch(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LdapSearch::~LdapSearch() = default;

void LdapSearch::SetUp() {
  int ignored = 0;
  (void)ldap_get_option(nullptr, LDAP_OPT_PROTOCOL_VERSION, &ignored);
}

base::Result<std::unique_ptr<LdapSearch>> LdapSearch::Open(const LdapSettings& settings,
                                                           const std::string& url,
                                                           base::MonoTime deadline) {
  auto impl = std::make_unique<Impl>(settings);
  std::string error = impl->Connect(url, deadline);
  if (!error.empty()) return base::Error{std::move(error)};
  return std::unique_ptr<LdapSearch>(new LdapSearch(std::move(impl)));
}

LdapOutcome LdapSearch::Ask(const std::string& filter, base::MonoTime deadline) {
  constexpr int kEnoughToTell = 2;
  LDAP* const ld = impl_->ld;
  const auto failed = [&](int code) {
    return LdapOutcome{LdapReply::Kind::kFailed, impl_->Words("search", code), IsOfServer(code)};
  };
  const auto failed_for = [](std::string why) {
    return LdapOutcome{LdapReply::Kind::kFailed, std::move(why), false};
  };
  impl_->SetTimeouts(deadline);
  std::string attribute = impl_->settings.attribute;
  char* attributes[] = {attribute.data(), nullptr};
  timeval left = LeftUntil(deadline);
  int id = 0;
  int code = ldap_search_ext(ld, impl_->settings.base.c_str(), LDAP_SCOPE_SUBTREE, filter.c_str(),
                             attributes, 0, nullptr, nullptr, &left, kEnoughToTell, &id);
  if (code != LDAP_SUCCESS) return failed(code);
  const Message answer = impl_->Await(id, deadline, code);
  if (answer == nullptr) return failed(code);
  const int parsed =
      ldap_parse_result(ld, answer.get(), &code, nullptr, nullptr, nullptr, nullptr, 0);
  if (parsed != LDAP_SUCCESS) return failed(parsed);
  if (ldap_count_entries(ld, answer.get()) > 1) return failed_for("more than one entry is found");
  if (code != LDAP_SUCCESS) return failed(code);
  LdapOutcome outcome;
  outcome.kind = LdapReply::Kind::kUnknown;
  LDAPMessage* const entry = ldap_first_entry(ld, answer.get());
  if (entry == nullptr) return outcome;
  berval** const values = ldap_get_values_len(ld, entry, attribute.c_str());
  const int num_values = ldap_count_values_len(values);
  if (num_values > 1) {
    outcome = failed_for("the attribute has more than one value");
  } else if (num_values == 1 && values[0]->bv_len > kMaxTextBytes) {
    outcome = failed_for("the value is too long");
  } else if (num_values == 1 && values[0]->bv_len > 0) {
    outcome.kind = LdapReply::Kind::kFound;
    outcome.text.assign(values[0]->bv_val, values[0]->bv_len);
  }
  if (values != nullptr) ldap_value_free_len(values);
  return outcome;
}

}  // namespace postern::directory
