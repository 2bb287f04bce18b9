// text_table: rows of words in columns that are as wide as they must be; the last one as long as it
// is.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <string>
#include <vector>

namespace postern::daemon {

using TextRow = std::vector<std::string>;

// rows: at least one, all of one length.
[[nodiscard]] inline std::string TextTable(const std::vector<TextRow>& rows) {
  std::vector<size_t> widths(rows.front().size(), 0);
  for (const TextRow& row : rows)
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string text;
  for (const TextRow& row : rows) {
    for (size_t i = 0; i + 1 < row.size(); ++i)
      text += row[i] + std::string(widths[i] - row[i].size() + 2, ' ');
    text += row.back() + '\n';
  }
  return text;
}

}  // namespace postern::daemon
