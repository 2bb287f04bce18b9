// json: the tree builder: the JSON library's SAX interface over an iterator that counts.
// SPDX-License-Identifier: Apache-2.0
#include "conf/json.h"

#include <charconv>
#include <cstddef>
#include <iterator>
#include <unordered_map>
#include <utility>

#include <nlohmann/json.hpp>

namespace postern::conf::json {
namespace {

enum class Token : uint8_t { kNone, kPunctuation, kString, kNumber, kWord };

bool IsSpace(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}
bool IsPunctuation(char c) {
  return c == '{' || c == '}' || c == '[' || c == ']' || c == ',' || c == ':';
}

// Watches the characters that the library reads and remembers where tokens begin. The library reads
// one character past a number, and past nothing else; that is why the token before the last is
// kept.
class Tracker {
 public:
  struct Start {
    Token token = Token::kNone;
    char first = 0;
    Place place;
  };

  void Pass(char c) {
    const auto byte = static_cast<unsigned char>(c);
    // A byte that continues a character of UTF-8 has no column of its own; a stray one has.
    if ((byte & 0xC0) == 0x80 && num_missing_ > 0) {
      --num_missing_;
    } else {
      ++here_.column;
      num_missing_ = byte >= 0xF0 ? 3 : byte >= 0xE0 ? 2 : byte >= 0xC0 ? 1 : 0;
      if (byte >= 0x80) last_multibyte_ = here_;
    }
    Follow(c);
    if (c == '\n') {
      newline_ = here_;
      ++here_.line;
      here_.column = 0;
    }
    last_ = c;
  }

  // The token that the library has just delivered.
  [[nodiscard]] Place LastValue() const { return start_[0].place; }
  [[nodiscard]] Place LastNumber() const {
    return start_[0].token == Token::kNumber ? start_[0].place : start_[1].place;
  }
  [[nodiscard]] const Start& Last() const { return start_[0]; }
  [[nodiscard]] const Start& BeforeLast() const { return start_[1]; }
  // The character read last; a newline counts to the line that it ends.
  [[nodiscard]] Place LastCharacter() const { return last_ == '\n' ? newline_ : here_; }
  [[nodiscard]] Place LastMultibyte() const { return last_multibyte_; }
  [[nodiscard]] Place Slash() const { return slash_; }
  // Where the next character would stand.
  [[nodiscard]] Place End() const { return {here_.line, here_.column + 1}; }

 private:
  enum class State : uint8_t {
    kBetween,
    kWord,
    kString,
    kEscape,
    kSlash,
    kLineComment,
    kBlockComment,
    kBlockStar,
  };

  void Begin(Token token, char c) {
    start_[1] = start_[0];
    start_[0] = {token, c, here_};
  }

  void Follow(char c) {
    switch (state_) {
      case State::kWord:
        if (!IsSpace(c) && !IsPunctuation(c) && c != '"' && c != '/') return;
        state_ = State::kBetween;
        [[fallthrough]];
      case State::kBetween:
        if (IsSpace(c)) return;
        if (c == '/') {
          slash_ = here_;
          state_ = State::kSlash;
        } else if (c == '"') {
          Begin(Token::kString, c);
          state_ = State::kString;
        } else if (IsPunctuation(c)) {
          Begin(Token::kPunctuation, c);
        } else {
          Begin(c == '-' || (c >= '0' && c <= '9') ? Token::kNumber : Token::kWord, c);
          state_ = State::kWord;
        }
        return;
      case State::kString:
        if (c == '\\') state_ = State::kEscape;
        if (c == '"') state_ = State::kBetween;
        return;
      case State::kEscape:
        state_ = State::kString;
        return;
      case State::kSlash:
        state_ = c == '/' ? State::kLineComment : c == '*' ? State::kBlockComment : State::kBetween;
        return;
      case State::kLineComment:
        if (c == '\n' || c == '\r') state_ = State::kBetween;
        return;
      case State::kBlockComment:
        if (c == '*') state_ = State::kBlockStar;
        return;
      case State::kBlockStar:
        if (c != '*') state_ = c == '/' ? State::kBetween : State::kBlockComment;
        return;
    }
  }

  State state_ = State::kBetween;
  Place here_{1, 0};
  Place newline_;
  Place slash_;
  Place last_multibyte_;
  int num_missing_ = 0;  // bytes of the character begun
  char last_ = 0;
  Start start_[2];
};

class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, Tracker* tracker) : at_(at), tracker_(tracker) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    tracker_->Pass(*at_);
    ++at_;
    return *this;
  }
  CountingIterator operator++(int) {
    const CountingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  Tracker* tracker_;
};

std::string PlaceText(Place place) {
  return std::to_string(place.line) + ":" + std::to_string(place.column);
}

bool Contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// What the library says, without its position and without the text it read: that may be a password.
std::string CoreOf(std::string_view what) {
  if (const size_t start = what.find("syntax error "); start != std::string_view::npos)
    what.remove_prefix(start + std::string_view("syntax error ").size());
  std::string core(what.substr(0, what.find("; last read:")));
  if (const size_t dash = core.find(" - "); dash != std::string::npos) core.erase(0, dash + 3);
  return core;
}

class Builder {
 public:
  using number_integer_t = nlohmann::json::number_integer_t;
  using number_unsigned_t = nlohmann::json::number_unsigned_t;
  using number_float_t = nlohmann::json::number_float_t;
  using string_t = nlohmann::json::string_t;
  using binary_t = nlohmann::json::binary_t;

  Builder(const Tracker& tracker, Parsed& parsed) : tracker_(tracker), parsed_(parsed) {}

  // The interface that the library calls; false stops it.
  bool null() { return Add(Node::Kind::kNull, tracker_.LastValue()) != nullptr; }
  bool boolean(bool value) {
    Add(Node::Kind::kBool, tracker_.LastValue())->boolean = value;
    return true;
  }
  bool number_integer(number_integer_t value) {
    Node* node = Add(Node::Kind::kNumber, tracker_.LastNumber());
    node->number = static_cast<double>(value);
    node->is_whole = true;
    node->is_negative = true;
    return true;
  }
  bool number_unsigned(number_unsigned_t value) {
    Node* node = Add(Node::Kind::kNumber, tracker_.LastNumber());
    node->number = static_cast<double>(value);
    node->is_whole = true;
    node->whole = value;
    return true;
  }
  bool number_float(number_float_t value, const string_t&) {
    Node* node = Add(Node::Kind::kNumber, tracker_.LastNumber());
    node->number = value;
    node->is_negative = value < 0;
    return true;
  }
  bool string(string_t& value) {
    Add(Node::Kind::kString, tracker_.LastValue())->text = value;
    return true;
  }
  bool binary(binary_t&) { return false; }  // JSON has none
  bool start_object(size_t) { return Open(Node::Kind::kObject); }
  bool start_array(size_t) { return Open(Node::Kind::kArray); }
  bool end_object() {
    const Frame& frame = frames_.back();
    if (frame.has_duplicates) {
      std::erase_if(frame.node->members, [&](const Member& member) {
        return frame.keys.at(member.key) != member.key_place;
      });
    }
    return end_array();
  }
  bool end_array() {
    frames_.pop_back();
    return true;
  }

  bool key(string_t& value) {
    Frame& frame = frames_.back();
    const Place place = tracker_.LastValue();
    const auto [known, is_new] = frame.keys.emplace(value, place);
    if (!is_new) {
      parsed_.faults.push_back({place, Join(PathOf(frames_.size() - 1), value),
                                "the key stands here a second time",
                                "it is first given at " + PlaceText(known->second)});
    }
    frame.has_duplicates = frame.has_duplicates || !is_new;
    frame.node->members.push_back({value, place, {}});
    return true;
  }

  bool parse_error(size_t, const std::string&, const nlohmann::json::exception& error) {
    const std::string core = CoreOf(error.what());
    Fault fault{Culprit(core), CurrentPath(), core, ""};
    const char at = tracker_.Last().first;
    if (Contains(core, "UTF-8")) {
      fault.place = tracker_.LastMultibyte();
      fault.message = "a byte that is not UTF-8";
      fault.hint = "save the file as UTF-8";
    } else if (Contains(core, "U+000A") || Contains(core, "U+000D") ||
               Contains(core, "missing closing quote")) {
      fault.message = "a string without its closing quote";
    } else if (Contains(core, "unexpected end of input")) {
      fault.message = "the text ends too early";
      if (!frames_.empty()) {
        const Node& open = *frames_.back().node;
        fault.hint = std::string(open.kind == Node::Kind::kObject ? "'{'" : "'['") + " of " +
                     PlaceText(open.place) + " is not closed";
      } else {
        fault.hint = "a configuration is one object: { ... }";
      }
    } else if ((at == '}' || at == ']') && tracker_.BeforeLast().first == ',' &&
               Contains(core, "unexpected")) {
      fault.place = tracker_.BeforeLast().place;
      fault.message = std::string("a comma before '") + at + "'";
      fault.hint = "remove it";
    } else if (Contains(core, "; expected end of input")) {
      fault.message = "text after the end of the configuration";
    } else if (Contains(core, "number overflow")) {
      fault.message = "the number is too large";
    } else if (Contains(core, "invalid literal")) {
      fault.hint = "strings stand in double quotes; the words of JSON are true, false and null";
    } else if (Contains(core, "expected '}'") || Contains(core, "expected ']'")) {
      fault.hint = "is a comma missing before it?";
    } else if (Contains(core, "expected string literal")) {
      fault.hint = "a key in double quotes belongs here";
    }
    parsed_.faults.push_back(std::move(fault));
    return false;
  }

  [[nodiscard]] std::string CurrentPath() const { return PathOf(frames_.size()); }

 private:
  struct Frame {
    Node* node;
    std::unordered_map<std::string, Place> keys;
    bool has_duplicates = false;
  };

  // A new value in the open container, or the root. Nodes stay where they are while they are open:
  // a container grows only after its last child is closed.
  Node* Add(Node::Kind kind, Place place) {
    Node* node;
    if (frames_.empty()) {
      node = &parsed_.root.emplace();
    } else if (Node& parent = *frames_.back().node; parent.kind == Node::Kind::kObject) {
      node = &parent.members.back().value;
    } else {
      node = &parent.items.emplace_back();
    }
    node->kind = kind;
    node->place = place;
    return node;
  }

  bool Open(Node::Kind kind) {
    const Place place = tracker_.Last().place;
    if (frames_.size() >= kMaxDepth) {
      parsed_.faults.push_back({place, CurrentPath(),
                                "nested deeper than " + std::to_string(kMaxDepth) + " levels", ""});
      return false;
    }
    frames_.push_back({Add(kind, place), {}, false});
    return true;
  }

  // The pointer of the value being read under the first `depth` open containers.
  [[nodiscard]] std::string PathOf(size_t depth) const {
    std::string path;
    for (size_t i = 0; i < depth; ++i) {
      const Node& node = *frames_[i].node;
      if (node.kind == Node::Kind::kObject) {
        if (!node.members.empty()) path = Join(path, node.members.back().key);
      } else if (!node.items.empty()) {
        path = Join(path, node.items.size() - 1);
      }
    }
    return path;
  }

  [[nodiscard]] Place Culprit(std::string_view core) const {
    if (Contains(core, "unexpected end of input")) return tracker_.End();
    if (Contains(core, "invalid comment")) return tracker_.Slash();
    if (Contains(core, "control character")) return tracker_.LastCharacter();
    if (Contains(core, "number")) return tracker_.LastNumber();
    return tracker_.Last().place;
  }

  const Tracker& tracker_;
  Parsed& parsed_;
  std::vector<Frame> frames_;
};

}  // namespace

const Member* Node::FindMember(std::string_view key) const {
  for (const Member& member : members)
    if (member.key == key) return &member;
  return nullptr;
}

const Node* Node::Find(std::string_view key) const {
  const Member* member = FindMember(key);
  return member == nullptr ? nullptr : &member->value;
}

Parsed Parse(std::string_view text) {
  Parsed parsed;
  if (text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);  // a byte order mark
  Tracker tracker;
  // The library takes NUL for the end of the text and would not look behind it.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    for (const char c : text.substr(0, nul)) tracker.Pass(c);
    parsed.faults.push_back({tracker.End(), "", "a NUL byte", "this is not a text file in UTF-8"});
    return parsed;
  }
  Builder builder(tracker, parsed);
  const bool is_good = nlohmann::json::sax_parse(
      CountingIterator(text.data(), &tracker),
      CountingIterator(text.data() + text.size(), &tracker), &builder,
      nlohmann::json::input_format_t::json, /*strict=*/true, /*ignore_comments=*/true);
  if (!is_good) parsed.root.reset();
  return parsed;
}

std::string_view Name(Node::Kind kind) {
  switch (kind) {
    case Node::Kind::kNull:
      return "null";
    case Node::Kind::kBool:
      return "true or false";
    case Node::Kind::kNumber:
      return "a number";
    case Node::Kind::kString:
      return "a string";
    case Node::Kind::kArray:
      return "a list";
    case Node::Kind::kObject:
      return "an object";
  }
  return "";
}

std::string Join(std::string_view path, std::string_view key) {
  std::string joined(path);
  joined += '/';
  for (const char c : key) {
    if (c == '~') {
      joined += "~0";
    } else if (c == '/') {
      joined += "~1";
    } else {
      joined += c;
    }
  }
  return joined;
}

std::string Join(std::string_view path, size_t index) {
  return std::string(path) + "/" + std::to_string(index);
}

namespace {

// Follows a pointer as far as there is something.
const Node& Walk(const Node& root, std::string_view pointer, bool& is_complete) {
  const Node* node = &root;
  is_complete = true;
  while (!pointer.empty()) {
    pointer.remove_prefix(1);  // '/'
    const std::string_view step = pointer.substr(0, pointer.find('/'));
    pointer.remove_prefix(step.size());
    const Node* next = nullptr;
    if (node->kind == Node::Kind::kArray) {
      size_t index = 0;
      const auto [end, error] = std::from_chars(step.data(), step.data() + step.size(), index);
      if (error == std::errc() && end == step.data() + step.size() && index < node->items.size())
        next = &node->items[index];
    } else {
      std::string key;
      for (size_t i = 0; i < step.size(); ++i) {
        const bool is_escape = step[i] == '~' && i + 1 < step.size();
        key += is_escape ? (step[++i] == '0' ? '~' : '/') : step[i];
      }
      next = node->Find(key);
    }
    is_complete = next != nullptr;
    if (!is_complete) break;
    node = next;
  }
  return *node;
}

}  // namespace

const Node* Lookup(const Node& root, std::string_view pointer) {
  bool is_complete = false;
  const Node& node = Walk(root, pointer, is_complete);
  return is_complete ? &node : nullptr;
}

Place PlaceOf(const Node& root, std::string_view pointer) {
  bool is_complete = false;
  return Walk(root, pointer, is_complete).place;
}

}  // namespace postern::conf::json
