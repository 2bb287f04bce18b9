// reference: the reference of all keys (Markdown), made from the table of keys.
// SPDX-License-Identifier: Apache-2.0
#include "conf/keys.h"
#include "conf/load.h"
#include "conf/values.h"

namespace postern::conf {
namespace {

// Text for a cell of a table.
std::string Cell(std::string_view text) {
  std::string cell;
  for (const char c : text) {
    if (c == '|') cell += '\\';
    cell += c;
  }
  return cell;
}

std::string Code(std::string_view text) {
  return "`" + Cell(text) + "`";
}

bool IsObjectType(Type type) {
  return type == Type::kObject || type == Type::kObjectList || type == Type::kObjectMap ||
         type == Type::kObjectListMap || type == Type::kObjectOrWord;
}

std::string Link(std::string_view kind) {
  return "[" + std::string(kind) + "](#" + std::string(kind) + ")";
}

std::string Values(const Key& row) {
  std::string values(Name(row.type));
  const auto parts = Split(row.values);
  if (IsObjectType(row.type)) {
    values += ": " + Link(parts.front());
    if (row.type == Type::kObjectOrWord) values += " or " + Code(parts[1]);
    return values;
  }
  if (parts.empty()) return values;
  if (const size_t dots = row.values.find(".."); dots != std::string_view::npos) {
    return values + ", " + std::string(row.values.substr(0, dots)) + " to " +
           std::string(row.values.substr(dots + 2));
  }
  for (size_t i = 0; i < parts.size(); ++i) values += (i == 0 ? ": " : ", ") + Code(parts[i]);
  return values;
}

std::string Default(const Key& row) {
  if (row.is_required()) return "must be given";
  if (!row.note.empty()) return Cell(row.note);
  if (IsObjectType(row.type) && row.fallback.empty()) return "";  // its own keys have theirs
  return row.fallback.empty() ? "none" : Code(row.fallback);
}

std::string Help(ObjectKind kind, const Key& row) {
  std::string help = Cell(row.help);
  if (!row.only.empty()) help += " Only for " + Listed(Split(row.only), " and ") + ".";
  if (const NotYet* not_yet = FindNotYet(kind, row.key)) {
    help += " *No effect in this build yet";
    if (!not_yet->IsWhole()) help += ": " + Listed(Split(not_yet->values), ", ");
    if (!not_yet->meanwhile.empty()) help += " (" + std::string(not_yet->meanwhile) + ")";
    help += ".*";
  }
  return help;
}

std::string Places(const ObjectInfo& info) {
  std::string places;
  for (const std::string_view place : Split(info.places))
    places += (places.empty() ? "" : ", ") + Code(place);
  return places;
}

constexpr std::string_view kHead = R"(# Configuration reference

One JSON file; `//` and `/* */` comments are allowed. Unknown and duplicate keys are errors, and all
errors are reported at once. `postern check` reads it without starting anything; `postern schema`
prints a JSON Schema for editors. The files in [examples](examples) are complete configurations.

| form | how it is written |
|---|---|
| duration | a whole number and `ms`, `s`, `m` or `h`: `"30s"` |
| size | a whole number and `B`, `KiB`, `MiB` or `GiB`: `"64KiB"` |
| rate | a count in a duration: `"10/10m"` |
| name | 1 to 64 letters, digits, `.`, `_`, `-` |
| network | `"10.0.0.0/8"`, `"2001:db8::/32"`, or one address |
| pattern | `*` stands for any run of characters: `"*@example.com"` |
| path | relative ones are taken from the folder of the configuration file |
| secret | a string, `{"file": PATH}` or `{"env": NAME}`, read on load, without its last newline |
| reload | when a change is felt: at once, by new sessions, or after a restart |

This file is generated from the tables `conf/keys.cc` and `conf/not_yet.cc`; change it there.
)";

}  // namespace

std::string Reference() {
  std::string text(kHead);
  for (const ObjectInfo& info : AllObjects()) {
    text += "\n## " + std::string(info.name) + "\n\nAt " + Places(info) + ".";
    if (!info.help.empty()) text += " " + std::string(info.help);
    text += "\n\n| key | value | default | reload | |\n|---|---|---|---|---|\n";
    for (const Key& row : info.keys) {
      text += "| " + Code(row.key) + " | " + Values(row) + " | " + Default(row) + " | " +
              std::string(Name(row.reload)) + " | " + Help(info.kind, row) + " |\n";
    }
  }
  return text;
}

}  // namespace postern::conf
