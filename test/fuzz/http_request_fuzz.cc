// http_request_fuzz: requests of strangers: any cut of the same bytes gives the same requests.
// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "lb/base/check.h"
#include "lb/net/http_request.h"

namespace {

using postern::net::HttpReader;

constexpr size_t kMaxHead = 1024, kMaxBody = 256;

// Everything that came of the bytes, as text; `step` bytes at a time.
std::string Read(std::string_view bytes, size_t step) {
  HttpReader reader(kMaxHead, kMaxBody);
  std::string seen;
  size_t start = 0;
  for (size_t end = 0; end < bytes.size();) {
    end = end + step < bytes.size() ? end + step : bytes.size();
    while (true) {
      const HttpReader::Status status = reader.Read(bytes.substr(start, end - start));
      // Why may hang on the cut: nonsense is refused as soon as its first line is there.
      if (status == HttpReader::Status::kRefused) return seen + "refused";
      if (status != HttpReader::Status::kDone) break;
      const auto& request = reader.request();
      POSTERN_CHECK(reader.consumed() > 0 && reader.consumed() <= end - start);
      POSTERN_CHECK(!request.path.empty() && request.body.size() <= kMaxBody);
      seen += request.method + " " + request.path + " " + request.body + "\n";
      for (const auto& [name, value] : request.headers) seen += name + ": " + value + "\n";
      start += reader.consumed();
      if (!reader.keeps_open()) return seen + "closed";
      reader.Reset();
    }
    // What waits for more is bounded.
    POSTERN_CHECK(end - start <= kMaxHead + kMaxBody + step);
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::string whole = Read(bytes, size == 0 ? 1 : size);
  POSTERN_CHECK(whole == Read(bytes, 1));
  POSTERN_CHECK(whole == Read(bytes, 7));
  return 0;
}
