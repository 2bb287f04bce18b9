// map_reader_test: rows and faults of a map's text, and what becomes of the file under it.
// SPDX-License-Identifier: Apache-2.0
#include "conf/map_reader.h"

#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/stat.h>

#include "test/conf/load_helper.h"

namespace postern::conf {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Rows and faults as texts, in the order in which they were found.
struct Seen {
  std::vector<std::string> all;
  size_t num_faults = 0;
};

void Add(Seen& seen, const MapReader& reader) {
  for (const MapFault& fault : reader.faults())
    seen.all.push_back(std::to_string(fault.line) + "! " + fault.message);
  seen.num_faults = reader.num_faults();
}

MapReader::OnRow Into(Seen& seen) {
  return [&seen](std::string_view key, std::string_view answer, int line) {
    seen.all.push_back(std::to_string(line) + ": " + std::string(key) + "=" + std::string(answer));
  };
}

Seen Read(std::string_view text, size_t piece_bytes = std::string_view::npos) {
  Seen seen;
  MapReader reader(Into(seen));
  while (!text.empty()) {
    reader.Feed(text.substr(0, piece_bytes));
    text.remove_prefix(std::min(piece_bytes, text.size()));
  }
  reader.End();
  Add(seen, reader);
  return seen;
}

TEST(MapReaderTest, ARowIsTwoWords) {
  EXPECT_THAT(Read("a@b one\n\n# x y z\n\tc@d\t two \t# why\n e#f@x one#1\ng@h three").all,
              ElementsAre("1: a@b=one", "4: c@d=two", "5: e#f@x=one#1", "6: g@h=three"));
}

TEST(MapReaderTest, LinesMayEndAsOnWindows) {
  EXPECT_THAT(Read("\xEF\xBB\xBF"
                   "a b\r\n\r\n#\r\nc d\r")
                  .all,
              ElementsAre("1: a=b", "4: c=d"));
}

struct BrokenRow {
  const char* name;
  std::string text;
  const char* fault;
};

class MapReaderBrokenTest : public testing::TestWithParam<BrokenRow> {};

TEST_P(MapReaderBrokenTest, IsAFaultOfItsLine) {
  EXPECT_THAT(Read("x y\n" + GetParam().text + "\nz y\n").all,
              ElementsAre("1: x=y", "3: z=y", std::string("2! ") + GetParam().fault));
}

INSTANTIATE_TEST_SUITE_P(
    All, MapReaderBrokenTest,
    testing::Values(BrokenRow{"OneWord", "a", "a row is two words, key and answer"},
                    BrokenRow{"ThreeWords", "a b c", "a row is two words, key and answer"},
                    BrokenRow{"AnswerIsAComment", "a #b", "a row is two words, key and answer"},
                    BrokenRow{"Nul", std::string("a\0 b", 4),
                              "there is a control character in the row"},
                    BrokenRow{"CrInside", "a b\rc d", "there is a control character in the row"},
                    BrokenRow{"Delete", "a b\x7f", "there is a control character in the row"},
                    BrokenRow{"Latin1Key", "m\xFCller@x b", "the row is not UTF-8"},
                    BrokenRow{"Latin1Answer", "a \xFC", "the row is not UTF-8"},
                    BrokenRow{"TooLong", std::string(MapReader::kMaxLineBytes - 1, 'k') + " b",
                              "the line is too long"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(MapReaderTest, WhatACommentSaysIsNoMatter) {
  EXPECT_THAT(Read("a b # m\xFCller \x01\n").all, ElementsAre("1: a=b"));
}

TEST(MapReaderTest, NamesOfOtherScriptsAreRows) {
  EXPECT_THAT(Read("m\u00FCller@example.com store-a").all,
              ElementsAre("1: m\u00FCller@example.com=store-a"));
}

TEST(MapReaderTest, TheLongestLineIsARow) {
  const std::string longest(MapReader::kMaxLineBytes - 2, 'k');
  EXPECT_THAT(Read(longest + " a\n").all, ElementsAre("1: " + longest + "=a"));
}

TEST(MapReaderTest, FaultsAreKeptUpToABoundAndCounted) {
  std::string many;
  for (size_t i = 0; i < MapReader::kMaxFaults + 5; ++i) many += "x\n";
  const Seen seen = Read(many);
  EXPECT_EQ(seen.all.size(), MapReader::kMaxFaults);
  EXPECT_EQ(seen.num_faults, MapReader::kMaxFaults + 5);
}

TEST(MapReaderTest, AnyCutGivesTheSame) {
  const std::string text =
      "\xEF\xBB\xBF"
      "a b\r\nc\n" +
      std::string(5000, 'l') + " x\n" + std::string(4094, 'k') + " y\nm\xC3\xBC n # o\n\n \np q";
  const Seen whole = Read(text);
  EXPECT_EQ(whole.all.size(), 6u);
  for (const size_t piece_bytes : {1u, 2u, 3u, 7u, 4095u, 4096u, 4097u, 4098u})
    EXPECT_EQ(Read(text, piece_bytes).all, whole.all) << piece_bytes;
}

class MapFileTest : public testing::Test {
 protected:
  Seen ReadFile(const std::string& path, size_t max_bytes = kMaxMapFileBytes) {
    Seen seen;
    MapReader reader(Into(seen));
    stamp_ = ReadMapFile(path, reader, max_bytes);
    Add(seen, reader);
    return seen;
  }
  TempFolder folder_;
  FileStamp stamp_;
};

TEST_F(MapFileTest, IsReadToItsEnd) {
  std::string text;
  while (text.size() < (600u << 10)) text += "k" + std::to_string(text.size()) + " a\n";
  const std::string path = folder_.Write("m", text + "last b");
  const Seen seen = ReadFile(path);
  EXPECT_EQ(seen.num_faults, 0u);
  EXPECT_EQ(seen.all.size(), 1u + static_cast<size_t>(std::count(text.begin(), text.end(), '\n')));
  EXPECT_THAT(seen.all.back(), testing::HasSubstr("last=b"));
  EXPECT_EQ(StampOf(path), stamp_);
}

TEST_F(MapFileTest, WhatIsNoFileIsOneFault) {
  EXPECT_THAT(ReadFile(folder_.Path("none")).all,
              ElementsAre("0! cannot be read: No such file or directory"));
  EXPECT_THAT(ReadFile(folder_.Path("")).all, ElementsAre("0! cannot be read: Is a directory"));
  ASSERT_EQ(::mkfifo(folder_.Path("pipe").c_str(), 0600), 0);
  EXPECT_THAT(ReadFile(folder_.Path("pipe")).all,
              ElementsAre("0! cannot be read: it is no regular file"));
  EXPECT_EQ(StampOf(folder_.Path("none")), std::nullopt);
  EXPECT_EQ(StampOf(folder_.Path("pipe")), std::nullopt);
}

TEST_F(MapFileTest, ItsSizeIsBounded) {
  const std::string path = folder_.Write("m", "a b\nc d\n");
  EXPECT_THAT(ReadFile(path, 8).all, ElementsAre("1: a=b", "2: c=d"));
  EXPECT_THAT(ReadFile(path, 7).all, ElementsAre("0! is larger than 7 bytes"));
}

TEST_F(MapFileTest, OneThatIsRenamedAwayMeanwhileIsReadAsItWas) {
  const std::string path = folder_.Write("m", "a b\nc d\n");
  const std::string other = folder_.Write("n", "e f\n");
  std::vector<std::string> rows;
  MapReader reader([&](std::string_view key, std::string_view, int) {
    if (rows.empty()) std::filesystem::rename(other, path);
    rows.emplace_back(key);
  });
  const FileStamp stamp = ReadMapFile(path, reader);
  EXPECT_THAT(rows, ElementsAre("a", "c"));
  EXPECT_THAT(reader.faults(), IsEmpty());
  EXPECT_NE(StampOf(path), stamp);
}

TEST_F(MapFileTest, OneThatIsWrittenToMeanwhileIsAFault) {
  const std::string path = folder_.Write("m", "a b\nc d\n");
  MapReader reader([&](std::string_view key, std::string_view, int) {
    if (key == "a") folder_.Write("m", "a b\n");
  });
  (void)ReadMapFile(path, reader);
  ASSERT_EQ(reader.faults().size(), 1u);
  EXPECT_EQ(reader.faults()[0].message, "was written to while it was read");
}

TEST_F(MapFileTest, AChangeShowsInItsStamp) {
  const std::string path = folder_.Write("m", "a b\n");
  const auto before = StampOf(path);
  EXPECT_EQ(StampOf(path), before);
  folder_.Write("m", "a b\nc d\n");  // size
  EXPECT_NE(StampOf(path), before);
  folder_.Write("m", "c d\n");
  std::filesystem::last_write_time(path, {});  // time
  EXPECT_NE(StampOf(path), before);
}

TEST_F(MapFileTest, ATimeThatIsSetBackHidesNoChange) {
  const std::string path = folder_.Write("m", "a b\n");
  const auto before = StampOf(path);
  const auto written = std::filesystem::last_write_time(path);
  // The clock of files is a coarse one.
  while (StampOf(path)->changed_ns == before->changed_ns) {
    folder_.Write("m", "c d\n");
    std::filesystem::last_write_time(path, written);
  }
  EXPECT_EQ(StampOf(path)->modified_ns, before->modified_ns);
  EXPECT_NE(StampOf(path), before);
}

TEST_F(MapFileTest, WhoeverReadsCanBeStopped) {
  const std::string path = folder_.Write("m", "a b\n");
  MapReader reader([](std::string_view, std::string_view, int) {});
  const std::atomic<bool> stop = true;
  (void)ReadMapFile(path, reader, kMaxMapFileBytes, &stop);
  ASSERT_EQ(reader.faults().size(), 1u);
  EXPECT_EQ(reader.faults()[0].message, "was not read to its end");
}

}  // namespace
}  // namespace postern::conf
