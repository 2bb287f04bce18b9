// tls_facts_pool_test: equal facts are kept once, and no longer than somebody wants them.
// SPDX-License-Identifier: Apache-2.0
#include "lb/net/tls_facts_pool.h"

#include <gtest/gtest.h>

namespace postern::net {
namespace {

io::TlsFacts Facts(const std::string& name, bool is_resumed = false) {
  io::TlsFacts facts;
  facts.version = "TLSv1.3";
  facts.server_name = name;
  facts.is_resumed = is_resumed;
  return facts;
}

TEST(TlsFactsPoolTest, KeepsEqualFactsOnce) {
  TlsFactsPool pool;
  const TlsFactsPool::Share first(pool, Facts("a"));
  const TlsFactsPool::Share second(pool, Facts("a"));
  const TlsFactsPool::Share other(pool, Facts("a", true));
  EXPECT_EQ(first.get(), second.get());
  EXPECT_NE(first.get(), other.get());
  EXPECT_EQ(pool.size(), 2u);
  EXPECT_EQ(first.get()->server_name, "a");
  EXPECT_TRUE(other.get()->is_resumed);
}

TEST(TlsFactsPoolTest, AnEntryGoesWithItsLastUser) {
  TlsFactsPool pool;
  TlsFactsPool::Share kept;
  EXPECT_EQ(kept.get(), nullptr);
  {
    TlsFactsPool::Share first(pool, Facts("a"));
    const TlsFactsPool::Share second(pool, Facts("a"));
    kept = std::move(first);
    EXPECT_EQ(first.get(), nullptr);
  }
  EXPECT_EQ(pool.size(), 1u);
  kept = TlsFactsPool::Share();
  EXPECT_EQ(pool.size(), 0u);
}

}  // namespace
}  // namespace postern::net
