// plan_printer: lines and members.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/plan_printer.h"

#include <algorithm>
#include <string>

#include "lb/base/escape.h"
#include "lb/daemon/json_object.h"

namespace postern::daemon {
namespace {

std::string HomeIn(const std::string& home) {
  return home.empty() ? "nowhere" : home;
}

// "store-old (mapped)", "nowhere (no rule: 550 5.1.1 ...)".
std::string InWords(const PlannedWay& way) {
  std::string words = HomeIn(way.home) + " (" + (way.rule.empty() ? "no rule" : way.rule);
  if (!way.answer.empty()) words += ": " + base::Printable(way.answer);
  return words + ")";
}

std::string AsJson(const PlannedWay& way) {
  std::string out;
  JsonObject its(out);
  its.TextOrNull("home", way.home);
  its.TextOrNull("answer", way.answer);
  its.Text("route", way.route);
  its.TextOrNull("rule", way.rule);
  its.End();
  return out;
}

std::string TotalLine(uint64_t count, const std::string& what) {
  const std::string number = std::to_string(count);
  return std::string(number.size() < 8 ? 8 - number.size() : 0, ' ') + number + "  " + what + "\n";
}

}  // namespace

void PlanPrinter::Begin() {
  if (form_ == Form::kJson) write_("{\"names\":[");
}

void PlanPrinter::Say(const PlannedName& name) {
  if (name.is_known() && has_other_ && !name.is_moved()) return;
  if (form_ == Form::kJson) return SayAsJson(name);
  std::string line =
      base::Printable(name.name, conf::NameList::kMaxLineBytes) + "  " + InWords(name.now);
  if (name.then) line += " -> " + InWords(*name.then);
  if (!name.is_known()) line += "  cannot be known";
  write_(line + "\n");
}

void PlanPrinter::End(const PlanTotals& totals) {
  if (form_ == Form::kJson) return EndAsJson(totals);
  const std::string num_names = std::to_string(totals.num_names);
  write_(has_other_ ? std::to_string(totals.num_moved) + " of " + num_names + " would move\n"
                    : num_names + " read\n");
  for (const auto& [pair, count] : totals.pairs) {
    if (!has_other_) {
      write_(TotalLine(count, HomeIn(pair.first)));
    } else if (pair.first != pair.second) {
      write_(TotalLine(count, HomeIn(pair.first) + " -> " + HomeIn(pair.second)));
    }
  }
  if (totals.num_unknown > 0) write_(TotalLine(totals.num_unknown, "cannot be known"));
}

void PlanPrinter::SayAsJson(const PlannedName& name) {
  std::string item;
  JsonObject its(item);
  its.Text("name", name.name);
  its.Bool("known", name.is_known());
  its.Raw("now", AsJson(name.now));
  if (name.then) its.Raw("then", AsJson(*name.then));
  its.End();
  write_((is_first_ ? "\n" : ",\n") + item);
  is_first_ = false;
}

void PlanPrinter::EndAsJson(const PlanTotals& totals) {
  std::string pairs = "[";
  for (const auto& [pair, count] : totals.pairs) {
    if (has_other_ && pair.first == pair.second) continue;
    if (pairs.size() > 1) pairs += ',';
    JsonObject its(pairs);
    its.TextOrNull("now", pair.first);
    if (has_other_) its.TextOrNull("then", pair.second);
    its.Raw("names", std::to_string(count));
    its.End();
  }
  pairs += ']';
  std::string rest;
  JsonObject its(rest);
  its.Raw("totals", pairs);
  its.Raw("names_read", std::to_string(totals.num_names));
  its.Raw("moved", std::to_string(totals.num_moved));
  its.Raw("unknown", std::to_string(totals.num_unknown));
  its.Raw("bad_lines", std::to_string(totals.num_bad_lines));
  its.End();
  write_("],\n" + rest.substr(1) + "\n");
}

}  // namespace postern::daemon
