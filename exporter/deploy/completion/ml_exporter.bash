# Usage:
# 1) Copy this to somewhere (e.g. ~/.local/share/bash_completion/ml_exporter).
# 2) Add the following line to your .bashrc:
#    source ~/.local/share/bash_completion/ml_exporter
# See also: https://github.com/scop/bash-completion/blob/main/doc/configuration.md

_shtab_ml_exporter_subparsers=(serve evaluate check profile hook suggest)

_shtab_ml_exporter_serve_option_strings=(-h --help --config.file --web.listen-address --web.config.file --web.enable-lifecycle --web.allow-unauthenticated --host.proc --host.sys --host.root --collector.host --no-collector.host --collector.pressure --no-collector.pressure --collector.process --no-collector.process --collector.cgroup --no-collector.cgroup --collector.gpu --no-collector.gpu --collector.self --no-collector.self --log.level --log.format)
_shtab_ml_exporter_evaluate_option_strings=(-h --help --config.file --at)
_shtab_ml_exporter_check_option_strings=(-h --help --config.file)
_shtab_ml_exporter_profile_option_strings=(-h --help --config.file --model --output --since --until --time-scale --trained-at --compare --limit)
_shtab_ml_exporter_hook_option_strings=(-h --help --config.file --web.listen-address --web.config.file --web.bearer-token-file --exporter.url --exporter.authorization-file --state.file --dry-run --log.level --log.format)
_shtab_ml_exporter_suggest_option_strings=(-h --help --config.file --prometheus --prometheus.authorization-file --days)
_shtab_ml_exporter_option_strings=(-h --help --version)

_shtab_ml_exporter_serve___config_file_COMPGEN=_shtab_compgen_files
_shtab_ml_exporter_serve___web_config_file_COMPGEN=_shtab_compgen_files
_shtab_ml_exporter_serve___host_proc_COMPGEN=_shtab_compgen_dirs
_shtab_ml_exporter_serve___host_sys_COMPGEN=_shtab_compgen_dirs
_shtab_ml_exporter_serve___host_root_COMPGEN=_shtab_compgen_dirs
_shtab_ml_exporter_evaluate___config_file_COMPGEN=_shtab_compgen_files
_shtab_ml_exporter_check___config_file_COMPGEN=_shtab_compgen_files
_shtab_ml_exporter_profile_pos_0_COMPGEN=_shtab_compgen_files
_shtab_ml_exporter_profile___config_file_COMPGEN=_shtab_compgen_files
_shtab_ml_exporter_profile___output_COMPGEN=_shtab_compgen_files
_shtab_ml_exporter_hook___config_file_COMPGEN=_shtab_compgen_files
_shtab_ml_exporter_hook___web_config_file_COMPGEN=_shtab_compgen_files
_shtab_ml_exporter_hook___web_bearer_token_file_COMPGEN=_shtab_compgen_files
_shtab_ml_exporter_hook___exporter_authorization_file_COMPGEN=_shtab_compgen_files
_shtab_ml_exporter_hook___state_file_COMPGEN=_shtab_compgen_files
_shtab_ml_exporter_suggest___config_file_COMPGEN=_shtab_compgen_files
_shtab_ml_exporter_suggest___prometheus_authorization_file_COMPGEN=_shtab_compgen_files

_shtab_ml_exporter_serve___log_level_choices=(debug info warning error)
_shtab_ml_exporter_serve___log_format_choices=(logfmt json)
_shtab_ml_exporter_hook___log_level_choices=(debug info warning error)
_shtab_ml_exporter_hook___log_format_choices=(logfmt json)
_shtab_ml_exporter_pos_0_choices=(serve evaluate check profile hook suggest)

_shtab_ml_exporter_serve__h_nargs=0
_shtab_ml_exporter_serve___help_nargs=0
_shtab_ml_exporter_serve___web_enable_lifecycle_nargs=0
_shtab_ml_exporter_serve___web_allow_unauthenticated_nargs=0
_shtab_ml_exporter_serve___collector_host_nargs=0
_shtab_ml_exporter_serve___no_collector_host_nargs=0
_shtab_ml_exporter_serve___collector_pressure_nargs=0
_shtab_ml_exporter_serve___no_collector_pressure_nargs=0
_shtab_ml_exporter_serve___collector_process_nargs=0
_shtab_ml_exporter_serve___no_collector_process_nargs=0
_shtab_ml_exporter_serve___collector_cgroup_nargs=0
_shtab_ml_exporter_serve___no_collector_cgroup_nargs=0
_shtab_ml_exporter_serve___collector_gpu_nargs=0
_shtab_ml_exporter_serve___no_collector_gpu_nargs=0
_shtab_ml_exporter_serve___collector_self_nargs=0
_shtab_ml_exporter_serve___no_collector_self_nargs=0
_shtab_ml_exporter_evaluate__h_nargs=0
_shtab_ml_exporter_evaluate___help_nargs=0
_shtab_ml_exporter_check__h_nargs=0
_shtab_ml_exporter_check___help_nargs=0
_shtab_ml_exporter_profile_pos_0_nargs='*'
_shtab_ml_exporter_profile__h_nargs=0
_shtab_ml_exporter_profile___help_nargs=0
_shtab_ml_exporter_profile___compare_nargs=2
_shtab_ml_exporter_hook__h_nargs=0
_shtab_ml_exporter_hook___help_nargs=0
_shtab_ml_exporter_hook___dry_run_nargs=0
_shtab_ml_exporter_suggest__h_nargs=0
_shtab_ml_exporter_suggest___help_nargs=0
_shtab_ml_exporter_pos_0_nargs=A...
_shtab_ml_exporter__h_nargs=0
_shtab_ml_exporter___help_nargs=0
_shtab_ml_exporter___version_nargs=0


# $1=COMP_WORDS[1]
_shtab_compgen_files() {
  compgen -f -- $1  # files
}

# $1=COMP_WORDS[1]
_shtab_compgen_dirs() {
  compgen -d -- $1  # recurse into subdirs
}

# $1=COMP_WORDS[1]
_shtab_replace_nonword() {
  echo "${1//[^[:word:]]/_}"
}

# set default values (called for the initial parser & any subparsers)
_set_parser_defaults() {
  local subparsers_var="${prefix}_subparsers[@]"
  sub_parsers=${!subparsers_var-}

  local current_option_strings_var="${prefix}_option_strings[@]"
  current_option_strings=${!current_option_strings_var}

  completed_positional_actions=0

  _set_new_action "pos_$completed_positional_actions" true
}

# $1=action identifier
# $2=positional action (bool)
# set all identifiers for an action's parameters
_set_new_action() {
  current_action="${prefix}_$(_shtab_replace_nonword $1)"

  local current_action_compgen_var=${current_action}_COMPGEN
  current_action_compgen="${!current_action_compgen_var-}"

  local current_action_choices_var="${current_action}_choices[@]"
  current_action_choices="${!current_action_choices_var-}"

  local current_action_nargs_var="${current_action}_nargs"
  if [ -n "${!current_action_nargs_var-}" ]; then
    current_action_nargs="${!current_action_nargs_var}"
  else
    current_action_nargs=1
  fi

  current_action_args_start_index=$(( $word_index + 1 - $pos_only ))

  current_action_is_positional=$2
}

# Notes:
# `COMPREPLY`: what will be rendered after completion is triggered
# `completing_word`: currently typed word to generate completions for
# `${!var}`: evaluates the content of `var` and expand its content as a variable
#     hello="world"
#     x="hello"
#     ${!x} -> ${hello} -> "world"
_shtab_ml_exporter() {
  local completing_word="${COMP_WORDS[COMP_CWORD]}"
  local previous_word="${COMP_WORDS[COMP_CWORD-1]}"
  local completed_positional_actions
  local current_action
  local current_action_args_start_index
  local current_action_choices
  local current_action_compgen
  local current_action_is_positional
  local current_action_nargs
  local current_option_strings
  local sub_parsers
  COMPREPLY=()

  local prefix=_shtab_ml_exporter
  local word_index=0
  local pos_only=0 # "--" delimiter not encountered yet
  _set_parser_defaults
  word_index=1

  # determine what arguments are appropriate for the current state
  # of the arg parser
  while [ $word_index -ne $COMP_CWORD ]; do
    local this_word="${COMP_WORDS[$word_index]}"

    if [[ $pos_only = 1 || " $this_word " != " -- " ]]; then
      if [[ -n $sub_parsers && " ${sub_parsers[@]} " == *" $this_word "* ]]; then
        # valid subcommand: add it to the prefix & reset the current action
        prefix="${prefix}_$(_shtab_replace_nonword $this_word)"
        _set_parser_defaults
      fi

      if [[ " ${current_option_strings[@]} " == *" $this_word "* ]]; then
        # a new action should be acquired (due to recognised option string or
        # no more input expected from current action);
        # the next positional action can fill in here
        _set_new_action $this_word false
      fi

      if [[ "$current_action_nargs" != "*" ]] && \
         [[ "$current_action_nargs" != "+" ]] && \
         [[ "$current_action_nargs" != "?" ]] && \
         [[ "$current_action_nargs" != *"..." ]] && \
         (( $word_index + 1 - $current_action_args_start_index - $pos_only >= \
            $current_action_nargs )); then
        $current_action_is_positional && let "completed_positional_actions += 1"
        _set_new_action "pos_$completed_positional_actions" true
      fi
    else
      pos_only=1 # "--" delimiter encountered
    fi

    let "word_index+=1"
  done

  # Generate the completions

  COMPREPLY=()
  if [[ $pos_only = 0 && "$completing_word" == -* &&
        ( -z "$current_action_compgen" || "$current_action_is_positional" = true ) ]]; then
    # optional argument started: use option strings
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(
      compgen -W "${current_option_strings[*]}" -- "$completing_word")
  elif [[ "$previous_word" =~ ^[0-9\&]*[\<\>]\>?$ ]]; then
    # handle redirection operators
    compopt -o filenames 2>/dev/null || : # bash>=4
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$completing_word")
  else
    # use choices & compgen
    local action_compgen_word="$completing_word"
    # handle tab-completing in the middle of a line (#248 <- #116)
    [[ -n "$current_action_compgen" && "$completing_word" == -* ]] && action_compgen_word=""
    [ -n "$current_action_compgen" ] && {
      [[ "$current_action_compgen" =~ _(file|dir|glob|FILE|DIR|GLOB)|File|Dir|Glob ]] &&
        compopt -o filenames 2>/dev/null || : # bash>=4
      while IFS= read -r line; do COMPREPLY+=("$line"); done < <(
        "$current_action_compgen" "$action_compgen_word")
    }
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(
      compgen -W "${current_action_choices[*]}" -- "$completing_word")
  fi

  if [[ ${#COMPREPLY[@]} = 0 ]]; then
    # native fallback matches are not necessarily filenames (e.g. variables)
    compopt +o filenames 2>/dev/null || : # bash>=4
  fi

  return 0
}

complete -o bashdefault -F _shtab_ml_exporter ml_exporter
