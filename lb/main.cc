// main: the command line: argv to an action, its exit code (0 good, 1 failed, 2 usage).
// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <string>

#include "lb/daemon/commands.h"
#include "lb/daemon/process.h"

int main(int argc, char** argv) {
  namespace daemon = postern::daemon;
  CLI::App app{"Postern: a mail-aware load balancer for SMTP, submission, IMAP and POP3",
               "postern"};
  app.require_subcommand(1);
  app.set_version_flag("--version", daemon::VersionText());
  app.footer(
      "Signals to a running postern: HUP reload, TERM drain and exit, INT stop at once, USR1 "
      "reopen logs.");
  std::string config = "/etc/postern/postern.json";
  const auto add_config = [&config](CLI::App* command) {
    command->add_option("-c,--config", config, "configuration file")->capture_default_str();
    return command;
  };
  CLI::App* run = add_config(app.add_subcommand("run", "serve until a signal ends it"));
  CLI::App* check =
      add_config(app.add_subcommand("check", "say everything that is wrong with a configuration"));
  bool has_diff = false, is_online = false;
  check->add_flag("--diff", has_diff,
                  "and what a reload of it would change in the running process");
  check
      ->add_flag("--online", is_online,
                 "and ask everything that it names: endpoints, queue sources, directories")
      ->excludes("--diff");
  CLI::App* schema = app.add_subcommand("schema", "print the JSON Schema of the configuration");
  CLI::App* version =
      app.add_subcommand("version", "print the version, and those of the libraries inside");
  CLI::App* status = add_config(app.add_subcommand("status", "show the running process"));
  bool is_json = false;
  status->add_flag("--json", is_json, "as the API answers");
  bool is_watched = false;
  double interval = 1;
  CLI::Option* watch =
      status->add_flag("--watch", is_watched, "again and again, until Ctrl-C or its end");
  watch->excludes("--json");
  status->add_option("--interval", interval, "of --watch, in seconds")
      ->check(CLI::Range(0.1, 3600.0))
      ->needs(watch)
      ->capture_default_str();
  CLI::App* explain = add_config(app.add_subcommand(
      "explain", "say where a user or recipient would go now, by which rule, and why"));
  daemon::RouteWords words;
  explain->add_option("--listener", words.listener, "where the client comes in")->required();
  CLI::Option* user = explain->add_option("--user", words.user, "as it logs in");
  CLI::Option* recipient =
      explain->add_option("--recipient", words.recipient, "of a message, on an smtp listener");
  explain->add_option("--client", words.client, "its IP address");
  explain->add_option("--sni", words.sni, "the name that it asks for in TLS");
  explain->add_flag("--json", is_json, "as the API answers");
  std::string plan, against;
  CLI::Option* plan_option =
      explain
          ->add_option("--plan", plan,
                       "a file of users, or of recipients, one a line (-: standard input): say "
                       "where each would go, asking the directories, not the running process")
          ->excludes(user)
          ->excludes(recipient);
  explain
      ->add_option("--against", against,
                   "another configuration: say only who would go elsewhere with it")
      ->needs(plan_option);
  CLI::App* reload = add_config(
      app.add_subcommand("reload", "have the running process read its configuration anew"));
  std::string backend;
  uint64_t weight = 0;
  const auto add_backend = [&](const char* name, const char* what) {
    CLI::App* command = add_config(app.add_subcommand(name, what));
    command->add_option("backend", backend, "BACKEND, or BACKEND/PROTOCOL")->required();
    return command;
  };
  CLI::App* drain = add_backend("drain", "give a backend no new work");
  CLI::App* resume = add_backend("resume", "give a backend work again");
  CLI::App* maintenance = add_backend("maintenance", "take a backend out, it is being worked on");
  CLI::App* set_weight = add_config(
      app.add_subcommand("weight", "weigh a backend otherwise than configured, until told again"));
  set_weight->add_option("backend", backend, "BACKEND")->required();
  set_weight->add_option("weight", weight, "0 to 10000")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (run->parsed()) return daemon::Process(config).Run();
  if (check->parsed())
    return daemon::Check(config, has_diff    ? daemon::CheckMore::kDiff
                                 : is_online ? daemon::CheckMore::kOnline
                                             : daemon::CheckMore::kNothing);
  if (schema->parsed()) return daemon::PrintSchema();
  if (version->parsed()) return daemon::PrintVersion();
  const auto form = is_json ? daemon::StatusForm::kJson : daemon::StatusForm::kText;
  if (is_watched)
    return daemon::WatchStatus(config,
                               std::chrono::milliseconds(static_cast<int64_t>(interval * 1000)));
  if (status->parsed()) return daemon::ShowStatus(config, form);
  if (explain->parsed() && *plan_option)
    return daemon::PlanHomes(config, against, plan, words, form);
  if (explain->parsed()) return daemon::ExplainRoute(config, words, form);
  if (reload->parsed()) return daemon::AskReload(config);
  for (const CLI::App* said : {drain, resume, maintenance})
    if (said->parsed()) return daemon::SayOfBackend(config, said->get_name(), backend);
  if (set_weight->parsed()) return daemon::SetWeight(config, backend, weight);
  return 2;
}
