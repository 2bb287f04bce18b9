// file_map: records, their hash table, and how both are built.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/file_map.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>
#include <unordered_map>
#include <utility>

#include "lb/base/bytes.h"
#include "lb/base/check.h"
#include "lb/base/escape.h"

namespace postern::directory {
namespace {

using KeyBytes = uint16_t;
constexpr size_t kHeadBytes = sizeof(KeyBytes) + sizeof(uint32_t);
constexpr size_t kMaxKeyBytes = UINT16_MAX;

uint64_t HashOf(std::string_view key) {
  // Only the operator adds keys, so strangers cannot make them collide.
  return std::hash<std::string_view>()(key);
}

std::string Quoted(std::string_view text) {
  return "\"" + base::Printable(text, 256) + "\"";
}

}  // namespace

FileMap::Record FileMap::RecordAt(size_t place) const {
  KeyBytes key_bytes;
  Record record;
  std::memcpy(&key_bytes, records_.data() + place, sizeof(key_bytes));
  std::memcpy(&record.answer, records_.data() + place + sizeof(key_bytes), sizeof(record.answer));
  record.key = std::string_view(records_).substr(place + kHeadBytes, key_bytes);
  return record;
}

size_t FileMap::SlotOf(std::string_view key) const {
  const uint64_t hash = HashOf(key);
  const auto tag = static_cast<uint32_t>(hash);
  // The upper half of the hash, scaled to the table, which need not be a power of two.
  size_t at = static_cast<size_t>(((hash >> 32) * slots_.size()) >> 32);
  while (slots_[at].place != 0) {
    if (slots_[at].tag == tag && RecordAt(slots_[at].place - 1).key == key) return at;
    if (++at == slots_.size()) at = 0;
  }
  return at;
}

const std::string* FileMap::FindExactly(std::string_view key) const {
  if (slots_.empty()) return nullptr;
  const Slot& slot = slots_[SlotOf(key)];
  return slot.place == 0 ? nullptr : &answers_[RecordAt(slot.place - 1).answer];
}

const std::string* FileMap::Find(std::string_view key) const {
  if (key.empty()) return nullptr;  // nobody, even where "*" is everybody
  if (const std::string* answer = FindExactly(key)) return answer;
  if (const std::string* answer = FindPattern(name_patterns_, key)) return answer;
  if (const size_t at = key.rfind('@'); at != std::string_view::npos)
    if (const std::string* answer = FindExactly(key.substr(at))) return answer;
  return FindPattern(domain_patterns_, key);
}

const std::string* FileMap::FindPattern(const Patterns& patterns, std::string_view key) const {
  const auto number = patterns.index.Find(key);
  return number ? &answers_[patterns.answers[*number]] : nullptr;
}

conf::MapAnswers FileMap::NumberedAnswers() const {
  conf::MapAnswers numbered;
  for (size_t i = 0; i < answers_.size() && i < conf::MapAnswers::kMaxAnswers; ++i)
    numbered.first_lines.emplace(answers_[i], first_lines_[i]);
  return numbered;
}

size_t FileMap::memory_bytes() const {
  size_t sum = sizeof(*this) + records_.capacity() + slots_.capacity() * sizeof(Slot) +
               answers_.capacity() * (sizeof(std::string) + sizeof(int));
  for (const std::string& answer : answers_) sum += answer.capacity();
  for (const Patterns* patterns : {&name_patterns_, &domain_patterns_})
    sum += patterns->index.memory_bytes() + patterns->answers.capacity() * sizeof(uint32_t);
  return sum;
}

// Takes rows as the reader finds them, and makes the map of them.
class FileMap::Builder {
 public:
  Builder(const route::UserKey& user_key, const FileMapLimits& limits)
      : user_key_(user_key), limits_(limits) {}

  void Take(std::string_view key, std::string_view answer, int line) {
    if (is_full_) return;
    if (key.find('*') != std::string_view::npos) return TakePattern(key, answer, line);
    const std::string canonical = user_key_.Key(key);
    if (canonical.empty() || canonical.size() > kMaxKeyBytes ||
        (key.front() == '@') != (canonical.front() == '@'))
      return Complain(line, "`users` makes " + Quoted(canonical) + " of the key " + Quoted(key));
    TakeKey(canonical, answer, line);
  }

  Loaded Finish(const std::string& path, const conf::FileStamp& stamp) {
    Loaded loaded;
    loaded.answers = map_->NumberedAnswers();
    loaded.answers.faults = reader_.faults();
    for (const conf::MapFault& fault : reader_.faults())
      loaded.errors.push_back(
          path + (fault.line == 0 ? " " : ":" + std::to_string(fault.line) + ": ") + fault.message);
    if (const size_t num_more = reader_.num_faults() - reader_.faults().size(); num_more > 0)
      loaded.errors.push_back(path + " has " + std::to_string(num_more) + " more errors");
    if (!loaded.errors.empty()) return loaded;
    // Two thirds full: five looks at neighbours for a key that is not there.
    if (map_->num_keys_ > 0) Resize(map_->num_keys_ + map_->num_keys_ / 2 + 1);
    map_->records_.shrink_to_fit();
    map_->answers_.shrink_to_fit();
    map_->first_lines_.shrink_to_fit();
    map_->stamp_ = stamp;
    loaded.map = std::move(map_);
    return loaded;
  }

  conf::MapReader& reader() { return reader_; }

 private:
  void Complain(int line, std::string message) { reader_.Complain(line, std::move(message)); }
  void ComplainOfTwo(int line, std::string_view key, uint32_t answer, int first_line) {
    Complain(line, Quoted(key) + " has another answer, " + Quoted(map_->answers_[answer]) +
                       ", in line " + std::to_string(first_line));
  }

  void TakeKey(const std::string& key, std::string_view answer, int line) {
    if (4 * (map_->num_keys_ + 1) > 3 * map_->slots_.size())
      Resize(std::max<size_t>(64, 2 * map_->slots_.size()));
    const uint32_t number = NumberOf(answer, line);
    Slot& slot = map_->slots_[map_->SlotOf(key)];
    if (slot.place != 0) {
      const Record record = map_->RecordAt(slot.place - 1);
      if (record.answer != number) ComplainOfTwo(line, key, record.answer, LineOf(slot.place));
      return;
    }
    std::string& records = map_->records_;
    if (records.size() + kHeadBytes + key.size() > std::min<size_t>(limits_.keys_bytes, UINT32_MAX))
      return BeFull(line, "the keys up to here take more than " +
                              std::to_string(limits_.keys_bytes) + " bytes");
    slot = {static_cast<uint32_t>(HashOf(key)), static_cast<uint32_t>(records.size() + 1)};
    lines_.push_back({slot.place, line});
    const auto key_bytes = static_cast<KeyBytes>(key.size());
    records.append(reinterpret_cast<const char*>(&key_bytes), sizeof(key_bytes));
    records.append(reinterpret_cast<const char*>(&number), sizeof(number));
    records.append(key);
    ++map_->num_keys_;
  }

  void TakePattern(std::string_view key, std::string_view answer, int line) {
    std::string canonical = user_key_.Key(key);
    // A default domain may follow.
    const bool is_same = base::StartsWithIgnoreCase(canonical, key) &&
                         (canonical.size() == key.size() || canonical[key.size()] == '@');
    if (!is_same)
      return Complain(line, "`users` makes " + Quoted(canonical) + " of the pattern " +
                                Quoted(key) + ": it would match other keys than it says");
    canonical.resize(key.size());
    if (canonical.front() == '@') canonical.insert(0, 1, '*');
    const bool is_of_domains =
        canonical.starts_with("*@") || canonical.find_first_not_of('*') == std::string::npos;
    auto& patterns = is_of_domains ? map_->domain_patterns_ : map_->name_patterns_;
    const uint32_t number = NumberOf(answer, line);
    const auto [known, is_new] = patterns_.try_emplace(canonical, number, line);
    if (!is_new) {
      const auto [answer_before, line_before] = known->second;
      if (answer_before != number) ComplainOfTwo(line, key, answer_before, line_before);
      return;
    }
    if (patterns_.size() > limits_.patterns)
      return BeFull(line, "there are more than " + std::to_string(limits_.patterns) + " patterns");
    if (!patterns.index.Add(canonical))
      return BeFull(line,
                    "each look-up would take too long: too many patterns begin and end alike "
                    "around a second '*', or have beginnings and ends of other lengths");
    patterns.answers.push_back(number);
  }

  // No more is taken, so that what is too much by accident costs no more memory either.
  void BeFull(int line, std::string message) {
    is_full_ = true;
    Complain(line, std::move(message));
  }

  uint32_t NumberOf(std::string_view answer, int line) {
    // Neighbours in the file mostly have the same.
    if (last_ && map_->answers_[*last_] == answer) return *last_;
    const auto [found, is_new] =
        numbers_.try_emplace(std::string(answer), static_cast<uint32_t>(map_->answers_.size()));
    if (is_new) {
      map_->answers_.emplace_back(answer);
      map_->first_lines_.push_back(line);
    }
    last_ = found->second;
    return found->second;
  }

  // Of the record at the place of a slot.
  int LineOf(uint32_t place) const {
    const auto found = std::lower_bound(lines_.begin(), lines_.end(), std::pair(place, 0));
    POSTERN_CHECK(found != lines_.end() && found->first == place);
    return found->second;
  }

  void Resize(size_t num_slots) {
    std::vector<Slot>(num_slots).swap(map_->slots_);
    for (size_t place = 0; place < map_->records_.size();) {
      const std::string_view key = map_->RecordAt(place).key;
      map_->slots_[map_->SlotOf(key)] = {static_cast<uint32_t>(HashOf(key)),
                                         static_cast<uint32_t>(place + 1)};
      place += kHeadBytes + key.size();
    }
  }

  const route::UserKey& user_key_;
  const FileMapLimits limits_;
  conf::MapReader reader_{
      [this](std::string_view key, std::string_view answer, int line) { Take(key, answer, line); }};
  std::shared_ptr<FileMap> map_ = std::make_shared<FileMap>();
  std::unordered_map<std::string, uint32_t> numbers_;  // of answers
  std::optional<uint32_t> last_;
  std::unordered_map<std::string, std::pair<uint32_t, int>> patterns_;  // number of answer, line
  std::vector<std::pair<uint32_t, int>> lines_;  // of records: place and line, both ascending
  bool is_full_ = false;
};

FileMap::Loaded FileMap::Load(const std::string& path, const route::UserKey& user_key,
                              const FileMapLimits& limits, const std::atomic<bool>* stop) {
  Builder builder(user_key, limits);
  const conf::FileStamp stamp = conf::ReadMapFile(path, builder.reader(), limits.file_bytes, stop);
  return builder.Finish(path, stamp);
}

FileMap::Loaded FileMap::Parse(std::string_view text, const std::string& path,
                               const route::UserKey& user_key, const FileMapLimits& limits) {
  Builder builder(user_key, limits);
  builder.reader().Feed(text);
  builder.reader().End();
  return builder.Finish(path, {});
}

}  // namespace postern::directory
