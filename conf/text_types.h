// text_types: what makes a text right for each type of key that is one text.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>

#include "conf/keys.h"
#include "conf/values.h"

namespace postern::conf {

// Nothing if `text` is right for a key of this row.
[[nodiscard]] std::optional<Refusal> CheckText(const Key& row, std::string_view text);
// How an IP:port, an address or a network that does not parse would be right.
[[nodiscard]] Refusal BadSocketAddress(std::string_view text);
[[nodiscard]] Refusal BadIpAddress(std::string_view text);
[[nodiscard]] Refusal BadNetwork(std::string_view text);

}  // namespace postern::conf
