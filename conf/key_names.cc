// key_names: the words for types and reload classes.
// SPDX-License-Identifier: Apache-2.0
#include "conf/keys.h"

namespace postern::conf {

std::string_view Name(Reload reload) {
  switch (reload) {
    case Reload::kAtOnce:
      return "at once";
    case Reload::kNewSessions:
      return "new sessions";
    case Reload::kRestart:
      return "restart";
  }
  return "";
}

std::string_view Name(Type type) {
  switch (type) {
    case Type::kString:
    case Type::kText:
      return "string";
    case Type::kWord:
      return "word";
    case Type::kBool:
      return "true or false";
    case Type::kCount:
      return "whole number";
    case Type::kPort:
      return "port";
    case Type::kNumber:
      return "number";
    case Type::kDuration:
      return "duration";
    case Type::kSize:
      return "size";
    case Type::kRate:
      return "rate";
    case Type::kName:
    case Type::kReference:
      return "name";
    case Type::kReferences:
      return "name or list of names";
    case Type::kHostname:
      return "host name";
    case Type::kHost:
      return "host name or IP address";
    case Type::kSocketAddress:
      return "IP:port or list of them";
    case Type::kAddressList:
      return "IP address or list of them";
    case Type::kNetworks:
      return "network or list of them";
    case Type::kPath:
      return "path";
    case Type::kPathOrWord:
      return "path or word";
    case Type::kSecret:
      return "secret";
    case Type::kReply:
      return "SMTP reply";
    case Type::kRegex:
      return "regular expression";
    case Type::kUrl:
      return "URL";
    case Type::kUrls:
      return "URL or list of them";
    case Type::kPeer:
      return "host:port or unix:PATH";
    case Type::kPeers:
      return "host:port or list of them";
    case Type::kPattern:
      return "pattern";
    case Type::kPatterns:
      return "pattern or list of patterns";
    case Type::kStrings:
      return "list of strings";
    case Type::kWords:
      return "list of words";
    case Type::kStringMap:
      return "object of strings";
    case Type::kSecretMap:
      return "object of secrets";
    case Type::kObject:
      return "object";
    case Type::kObjectList:
      return "list of objects";
    case Type::kObjectMap:
      return "objects by name";
    case Type::kObjectListMap:
      return "lists of objects by name";
    case Type::kObjectOrWord:
      return "object or word";
  }
  return "";
}

}  // namespace postern::conf
