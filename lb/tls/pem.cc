// pem: certificates and keys out of PEM text.
// SPDX-License-Identifier: Apache-2.0
#include "lb/tls/pem.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <utility>

#include "lb/base/address.h"
#include "lb/base/bytes.h"
#include "lb/base/escape.h"
#include "lb/base/log.h"
#include "lb/base/secret.h"
#include "lb/tls/text_file.h"

namespace postern::tls {
namespace {

bssl::UniquePtr<BIO> Reader(const std::string& text) {
  return bssl::UniquePtr<BIO>(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// Never asks the terminal for a pass phrase.
int NoPassword(char* /*buffer*/, int /*size*/, int /*is_writing*/, void* was_asked) {
  *static_cast<bool*>(was_asked) = true;
  return -1;
}

std::string TextOf(const ASN1_STRING* string) {
  return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
                     static_cast<size_t>(ASN1_STRING_length(string)));
}

std::string AddressText(const ASN1_OCTET_STRING* octets) {
  const uint8_t* data = ASN1_STRING_get0_data(octets);
  if (ASN1_STRING_length(octets) == 4) {
    return base::IpAddress::V4({data[0], data[1], data[2], data[3]}).ToString();
  }
  if (ASN1_STRING_length(octets) != 16) return {};
  std::array<uint8_t, 16> bytes{};
  std::copy(data, data + 16, bytes.begin());
  return base::IpAddress::V6(bytes).ToString();
}

std::string CommonName(const X509_NAME* name) {
  // Older headers lack const here.
  auto* raw = const_cast<X509_NAME*>(name);
  const int index = X509_NAME_get_index_by_NID(raw, NID_commonName, -1);
  if (index < 0) return {};
  return TextOf(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(raw, index)));
}

}  // namespace

base::Result<std::vector<bssl::UniquePtr<X509>>> ReadCertificates(const std::string& path) {
  const base::Result<std::string> text = ReadTextFile(path);
  if (!text.ok()) return base::Error{text.error()};
  const bssl::UniquePtr<BIO> reader = Reader(*text);
  std::vector<bssl::UniquePtr<X509>> certificates;
  ERR_clear_error();
  for (;;) {
    X509* certificate = PEM_read_bio_X509(reader.get(), nullptr, nullptr, nullptr);
    if (certificate == nullptr) break;
    certificates.emplace_back(certificate);
  }
  const uint32_t error = ERR_peek_last_error();
  ERR_clear_error();
  const bool is_at_end =
      ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
  if (!is_at_end) {
    return base::Error{path + ": certificate " + std::to_string(certificates.size() + 1) +
                       " in the file is damaged"};
  }
  if (certificates.empty()) {
    return base::Error{path + " holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"};
  }
  return certificates;
}

base::Result<bssl::UniquePtr<EVP_PKEY>> ReadPrivateKey(const std::string& path) {
  base::Result<std::string> read = ReadTextFile(path);
  if (!read.ok()) return base::Error{read.error()};
  std::string text = std::move(read).value();
  bool is_encrypted = false;
  ERR_clear_error();
  bssl::UniquePtr<EVP_PKEY> key;
  {
    const bssl::UniquePtr<BIO> reader = Reader(text);
    key.reset(PEM_read_bio_PrivateKey(reader.get(), nullptr, &NoPassword, &is_encrypted));
  }
  const uint32_t error = ERR_peek_last_error();
  ERR_clear_error();
  base::WipeString(text);
  if (key != nullptr) return key;
  if (is_encrypted) {
    return base::Error{path + ": the key is encrypted; store it without a pass phrase"};
  }
  if (ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE) {
    return base::Error{path + " holds no private key in PEM form"};
  }
  return base::Error{path + ": the private key is damaged"};
}

std::vector<std::string> NamesOf(X509* certificate) {
  std::vector<std::string> names;
  const bssl::UniquePtr<GENERAL_NAMES> alternatives(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  const size_t count = alternatives == nullptr ? 0 : sk_GENERAL_NAME_num(alternatives.get());
  for (size_t i = 0; i < count; ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(alternatives.get(), i);
    std::string text;
    if (name->type == GEN_DNS) text = base::ToLower(TextOf(name->d.dNSName));
    if (name->type == GEN_IPADD) text = AddressText(name->d.iPAddress);
    if (!text.empty()) names.push_back(std::move(text));
  }
  if (names.empty()) {
    std::string common = base::ToLower(CommonName(X509_get_subject_name(certificate)));
    if (!common.empty()) names.push_back(std::move(common));
  }
  return names;
}

base::WallTime ToWallTime(const ASN1_TIME* time) {
  const bssl::UniquePtr<ASN1_TIME> epoch(ASN1_TIME_set(nullptr, 0));
  int days = 0;
  int seconds = 0;
  if (time == nullptr || ASN1_TIME_diff(&days, &seconds, epoch.get(), time) != 1) return {};
  // A date of the year 9999 does not fit nanoseconds: "never" is the last that does.
  const int64_t total = int64_t{days} * 86400 + seconds;
  constexpr int64_t kLast =
      std::chrono::duration_cast<std::chrono::seconds>(base::Duration::max()).count() - 1;
  return base::WallTime(std::chrono::seconds(std::min(total, kLast)));
}

std::string DateText(base::WallTime time) {
  return base::log::FormatTime(time).substr(0, 10);
}

std::string NameText(const X509_NAME* name) {
  const std::string common = CommonName(name);
  if (!common.empty()) return base::Printable(common, 128);
  char* line = X509_NAME_oneline(const_cast<X509_NAME*>(name), nullptr, 0);
  if (line == nullptr) return "(no name)";
  std::string text = base::Printable(line, 128);
  OPENSSL_free(line);
  return text.empty() ? "(no name)" : text;
}

}  // namespace postern::tls
