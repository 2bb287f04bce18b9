// build: fills a Config from the tree, key by key. What is wrong is reported and keeps its default;
// what only shows when keys are seen together is the validator's.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "conf/config.h"
#include "conf/json.h"
#include "conf/problems.h"
#include "conf/reader.h"

namespace postern::conf {

struct Built {
  Config config;
  // Where each of them, and each rule of each route, stands in the tree.
  std::vector<std::string> certificate_paths;
  std::vector<std::string> listener_paths;
  std::vector<std::vector<std::string>> rule_paths;
};

class Builder {
 public:
  Builder(Problems& problems, const Sources& sources) : problems_(problems), sources_(sources) {}
  // root: an object.
  [[nodiscard]] Built Build(const json::Node& root);

 private:
  // build.cc
  void ReadTls(const Value& value, Tls& tls);
  void ReadListener(const Value& value);
  void ReadLimits(const Value& value, Layer layer, Limits& limits);
  void ReadTimeouts(const Value& value, Layer layer, Timeouts& timeouts);
  void ReadSmtp(const Value& value, Smtp& smtp);
  void ReadUsers(const Value& value, Users& users);
  void ReadSmallObjects(ObjectReader& top, Config& config);
  // build_backends.cc
  void ReadBackend(const ObjectReader::Named& named);
  void ReadEndpoint(const Value& value, Protocol protocol, Backend& backend);
  void ReadVerify(const Value& value, Verify& verify);
  void ReadQueue(const Value& value, QueueSource& queue);
  void ReadPool(const ObjectReader::Named& named);
  void ReadHealth(const Value& value, Layer layer, Health& health);
  void ReadWeights(const Value& value, Layer layer, Weights& weights);
  void ReadLogin(const Value& value, Credentials& credentials);
  // build_routes.cc
  void ReadDirectory(const ObjectReader::Named& named);
  void ReadRoute(const ObjectReader::Named& named);
  void ReadRule(const Value& value, size_t number, Route& route);
  void ReadAction(ObjectReader& reader, Rule& rule);
  void ReadProbe(const ObjectReader::Named& named);

  Problems& problems_;
  const Sources& sources_;
  Built built_;
};

}  // namespace postern::conf
