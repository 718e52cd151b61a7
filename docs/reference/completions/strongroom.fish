# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_strongroom_global_optspecs
    string join \n e/env= project= json format= o/output= q/quiet v/verbose color= no-progress h/help V/version
end

function __fish_strongroom_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_strongroom_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_strongroom_using_subcommand
    set -l cmd (__fish_strongroom_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c strongroom -n "__fish_strongroom_needs_command" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_needs_command" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_needs_command" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_needs_command" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_needs_command" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_needs_command" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_needs_command" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_needs_command" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_needs_command" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_needs_command" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_needs_command" -f -a "run" -d 'Run a pipeline'
complete -c strongroom -n "__fish_strongroom_needs_command" -f -a "backup" -d 'Make a backup: run the pipeline `backup`'
complete -c strongroom -n "__fish_strongroom_needs_command" -f -a "restore" -d 'Restore a backup: run the pipeline `restore`'
complete -c strongroom -n "__fish_strongroom_needs_command" -f -a "drill" -d 'Rehearse a restore into nowhere: run the pipeline `drill`'
complete -c strongroom -n "__fish_strongroom_needs_command" -f -a "rollback" -d 'Put back what a restore replaced; itself undone the same way'
complete -c strongroom -n "__fish_strongroom_needs_command" -f -a "plan" -d 'Say what a run would do, and do nothing'
complete -c strongroom -n "__fish_strongroom_needs_command" -f -a "validate" -d 'Check manifests: every pipeline in every environment, unless some are named'
complete -c strongroom -n "__fish_strongroom_needs_command" -f -a "explain" -d 'Show every value of a pipeline, where it was written and what it replaced'
complete -c strongroom -n "__fish_strongroom_needs_command" -f -a "schema" -d 'Print the JSON Schema of a manifest'
complete -c strongroom -n "__fish_strongroom_needs_command" -f -a "list" -d 'List the backups of an environment'
complete -c strongroom -n "__fish_strongroom_needs_command" -f -a "show" -d 'Show one backup: when, from what, how large, where'
complete -c strongroom -n "__fish_strongroom_needs_command" -f -a "ls" -d 'List what is in a backup'
complete -c strongroom -n "__fish_strongroom_needs_command" -f -a "cat" -d 'Print the content of a file in a backup'
complete -c strongroom -n "__fish_strongroom_needs_command" -f -a "diff" -d 'Say what differs between two backups'
complete -c strongroom -n "__fish_strongroom_needs_command" -f -a "find" -d 'Look for a name in every backup'
complete -c strongroom -n "__fish_strongroom_needs_command" -f -a "export" -d 'Take files out of a backup as a tar archive'
complete -c strongroom -n "__fish_strongroom_needs_command" -f -a "verify" -d 'Verify one backup, whole or a part of it at each run'
complete -c strongroom -n "__fish_strongroom_needs_command" -f -a "retention" -d 'Say which backups a retention policy keeps, and why; change nothing'
complete -c strongroom -n "__fish_strongroom_needs_command" -f -a "forget" -d 'Let single backups go'
complete -c strongroom -n "__fish_strongroom_needs_command" -f -a "sweep" -d 'Delete what no backup needs and was listed long enough; list the rest'
complete -c strongroom -n "__fish_strongroom_needs_command" -f -a "journal" -d 'Read, verify or restart the journal of an environment'
complete -c strongroom -n "__fish_strongroom_needs_command" -f -a "keys" -d 'Make keys, and show, extend or replace those that backups are sealed with'
complete -c strongroom -n "__fish_strongroom_needs_command" -f -a "explain-error" -d 'Explain an error code such as `flow-order`'
complete -c strongroom -n "__fish_strongroom_needs_command" -f -a "completions" -d 'Print a completion script'
complete -c strongroom -n "__fish_strongroom_needs_command" -f -a "man" -d 'Print the man page, or write one for each verb'
complete -c strongroom -n "__fish_strongroom_needs_command" -f -a "generate" -d 'Write the generated files of the project\'s own sources, or compare them'
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -l set -d 'Set one value of the manifest: `step.<id>.<key>`, `path.<name>` or `target.<name>.<key>`. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -l arg -d 'Give an argument that the pipeline declares. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -l confirm -d 'Confirm by naming the environment, in place of typing it when asked' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -l target -d 'Use only this target. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -l wait -d 'Wait this long for another run of the same pipeline to end, `10min`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -l accept-log-rewrite -d 'Back up this `append-log` source although it is not what its last backup has and something more. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -l from -d 'Take the backup from this environment, and from its targets, instead of the one it goes to' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -l identity -d 'The file with the age identity that opens the backup, instead of what the environment says' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -l to -d 'Restore into this empty or absent folder instead of in place' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -l include -d 'Restore only paths that match. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -l exclude -d 'Do not restore paths that match. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -l rewind-log -d 'Put this log back although records written since the backup go with what is replaced. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -s n -l dry-run -d 'Say what would be done, and do nothing'
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -l allow-unredacted -d 'Let data of a protected environment come into another one without redaction. The journal says so'
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -l trust-unsigned -d 'Use a backup although none of the environment\'s signers made it'
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -l past-damage -d 'Where no target has the whole backup, restore what can be had of it, name what is lost, and end with 4'
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -l no-owner -d 'Restored files belong to whoever runs the restore'
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -l numeric-owner -d 'Restored files belong to the same numbers, whatever their names are here'
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -l while-running -d 'Replace files that other processes use. They go on with the old ones, and what they write then is lost'
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand run" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand backup" -l set -d 'Set one value of the manifest: `step.<id>.<key>`, `path.<name>` or `target.<name>.<key>`. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand backup" -l arg -d 'Give an argument that the pipeline declares. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand backup" -l confirm -d 'Confirm by naming the environment, in place of typing it when asked' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand backup" -l target -d 'Use only this target. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand backup" -l wait -d 'Wait this long for another run of the same pipeline to end, `10min`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand backup" -l accept-log-rewrite -d 'Back up this `append-log` source although it is not what its last backup has and something more. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand backup" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand backup" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand backup" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand backup" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand backup" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand backup" -s n -l dry-run -d 'Say what would be done, and do nothing'
complete -c strongroom -n "__fish_strongroom_using_subcommand backup" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand backup" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand backup" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand backup" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand backup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand backup" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -l set -d 'Set one value of the manifest: `step.<id>.<key>`, `path.<name>` or `target.<name>.<key>`. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -l arg -d 'Give an argument that the pipeline declares. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -l confirm -d 'Confirm by naming the environment, in place of typing it when asked' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -l target -d 'Use only this target. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -l wait -d 'Wait this long for another run of the same pipeline to end, `10min`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -l from -d 'Take the backup from this environment, and from its targets, instead of the one it goes to' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -l identity -d 'The file with the age identity that opens the backup, instead of what the environment says' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -l to -d 'Restore into this empty or absent folder instead of in place' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -l include -d 'Restore only paths that match. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -l exclude -d 'Do not restore paths that match. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -l rewind-log -d 'Put this log back although records written since the backup go with what is replaced. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -s n -l dry-run -d 'Say what would be done, and do nothing'
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -l allow-unredacted -d 'Let data of a protected environment come into another one without redaction. The journal says so'
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -l trust-unsigned -d 'Use a backup although none of the environment\'s signers made it'
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -l past-damage -d 'Where no target has the whole backup, restore what can be had of it, name what is lost, and end with 4'
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -l no-owner -d 'Restored files belong to whoever runs the restore'
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -l numeric-owner -d 'Restored files belong to the same numbers, whatever their names are here'
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -l while-running -d 'Replace files that other processes use. They go on with the old ones, and what they write then is lost'
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand restore" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand drill" -l set -d 'Set one value of the manifest: `step.<id>.<key>`, `path.<name>` or `target.<name>.<key>`. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand drill" -l arg -d 'Give an argument that the pipeline declares. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand drill" -l confirm -d 'Confirm by naming the environment, in place of typing it when asked' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand drill" -l target -d 'Use only this target. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand drill" -l wait -d 'Wait this long for another run of the same pipeline to end, `10min`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand drill" -l from -d 'Take the backup from this environment, and from its targets, instead of the one it goes to' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand drill" -l identity -d 'The file with the age identity that opens the backup, instead of what the environment says' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand drill" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand drill" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand drill" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand drill" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand drill" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand drill" -s n -l dry-run -d 'Say what would be done, and do nothing'
complete -c strongroom -n "__fish_strongroom_using_subcommand drill" -l allow-unredacted -d 'Let data of a protected environment come into another one without redaction. The journal says so'
complete -c strongroom -n "__fish_strongroom_using_subcommand drill" -l trust-unsigned -d 'Use a backup although none of the environment\'s signers made it'
complete -c strongroom -n "__fish_strongroom_using_subcommand drill" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand drill" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand drill" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand drill" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand drill" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand drill" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand rollback" -l confirm -d 'Confirm by naming the environment, in place of typing it when asked' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand rollback" -l wait -d 'Wait this long for another rollback to end, `10min`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand rollback" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand rollback" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand rollback" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand rollback" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand rollback" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand rollback" -l list -d 'List the rollback points and the space they take'
complete -c strongroom -n "__fish_strongroom_using_subcommand rollback" -l drop -d 'Remove the point instead, and what it keeps'
complete -c strongroom -n "__fish_strongroom_using_subcommand rollback" -l while-running -d 'Replace files that other processes use. They go on with the old ones, and what they write then is lost'
complete -c strongroom -n "__fish_strongroom_using_subcommand rollback" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand rollback" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand rollback" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand rollback" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand rollback" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand rollback" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -l set -d 'Set one value of the manifest: `step.<id>.<key>`, `path.<name>` or `target.<name>.<key>`. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -l arg -d 'Give an argument that the pipeline declares. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -l confirm -d 'Confirm by naming the environment, in place of typing it when asked' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -l target -d 'Use only this target. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -l wait -d 'Wait this long for another run of the same pipeline to end, `10min`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -l accept-log-rewrite -d 'Back up this `append-log` source although it is not what its last backup has and something more. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -l from -d 'Take the backup from this environment, and from its targets, instead of the one it goes to' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -l identity -d 'The file with the age identity that opens the backup, instead of what the environment says' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -l to -d 'Restore into this empty or absent folder instead of in place' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -l include -d 'Restore only paths that match. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -l exclude -d 'Do not restore paths that match. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -l rewind-log -d 'Put this log back although records written since the backup go with what is replaced. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -l offline -d 'Start no process, open no socket, read no secret and no source'
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -l allow-unredacted -d 'Let data of a protected environment come into another one without redaction. The journal says so'
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -l trust-unsigned -d 'Use a backup although none of the environment\'s signers made it'
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -l past-damage -d 'Where no target has the whole backup, restore what can be had of it, name what is lost, and end with 4'
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -l no-owner -d 'Restored files belong to whoever runs the restore'
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -l numeric-owner -d 'Restored files belong to the same numbers, whatever their names are here'
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -l while-running -d 'Replace files that other processes use. They go on with the old ones, and what they write then is lost'
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand plan" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand validate" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand validate" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand validate" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand validate" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand validate" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand validate" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand validate" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand validate" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand validate" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand validate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand validate" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand explain" -l set -d 'Set one value of the manifest first. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand explain" -l arg -d 'Give an argument that the pipeline declares; else its example is used. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand explain" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand explain" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand explain" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand explain" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand explain" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand explain" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand explain" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand explain" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand explain" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand explain" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand schema" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand schema" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand schema" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand schema" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand schema" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand schema" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand schema" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand schema" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand schema" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand schema" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand schema" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand list" -l pipeline -d 'Only backups made by this pipeline' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand list" -l target -d 'Look only in this target. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand list" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand list" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand list" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand list" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand list" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand list" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand list" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand list" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand list" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand list" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand show" -l pipeline -d 'Only backups made by this pipeline' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand show" -l target -d 'Look only in this target. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand show" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand show" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand show" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand show" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand show" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand show" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand show" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand show" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand show" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand show" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand ls" -l pipeline -d 'Only backups made by this pipeline' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand ls" -l target -d 'Look only in this target. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand ls" -l identity -d 'The file with the age identity that opens the backup, instead of what the environment says' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand ls" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand ls" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand ls" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand ls" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand ls" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand ls" -s R -l recursive -d 'List everything below too'
complete -c strongroom -n "__fish_strongroom_using_subcommand ls" -l trust-unsigned -d 'Use a backup although none of the environment\'s signers made it'
complete -c strongroom -n "__fish_strongroom_using_subcommand ls" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand ls" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand ls" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand ls" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand ls" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand cat" -l pipeline -d 'Only backups made by this pipeline' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand cat" -l target -d 'Look only in this target. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand cat" -l identity -d 'The file with the age identity that opens the backup, instead of what the environment says' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand cat" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand cat" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand cat" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand cat" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand cat" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand cat" -l trust-unsigned -d 'Use a backup although none of the environment\'s signers made it'
complete -c strongroom -n "__fish_strongroom_using_subcommand cat" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand cat" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand cat" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand cat" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand cat" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand cat" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand diff" -l pipeline -d 'Only backups made by this pipeline' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand diff" -l target -d 'Look only in this target. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand diff" -l identity -d 'The file with the age identity that opens the backup, instead of what the environment says' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand diff" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand diff" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand diff" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand diff" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand diff" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand diff" -l trust-unsigned -d 'Use a backup although none of the environment\'s signers made it'
complete -c strongroom -n "__fish_strongroom_using_subcommand diff" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand diff" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand diff" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand diff" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand diff" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand diff" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand find" -l pipeline -d 'Only backups made by this pipeline' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand find" -l target -d 'Look only in this target. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand find" -l identity -d 'The file with the age identity that opens the backup, instead of what the environment says' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand find" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand find" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand find" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand find" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand find" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand find" -l trust-unsigned -d 'Use a backup although none of the environment\'s signers made it'
complete -c strongroom -n "__fish_strongroom_using_subcommand find" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand find" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand find" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand find" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand find" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand find" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand export" -l pipeline -d 'Only backups made by this pipeline' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand export" -l target -d 'Look only in this target. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand export" -l identity -d 'The file with the age identity that opens the backup, instead of what the environment says' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand export" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand export" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand export" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand export" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand export" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand export" -l zstd -d 'Compress the archive; done too where the name after `-o` ends in `.zst`'
complete -c strongroom -n "__fish_strongroom_using_subcommand export" -l trust-unsigned -d 'Use a backup although none of the environment\'s signers made it'
complete -c strongroom -n "__fish_strongroom_using_subcommand export" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand export" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand export" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand export" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand export" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand verify" -l level -d 'How much is checked: every stored object\'s digest, or every entry\'s content too' -r -f -a "objects\t'Every stored object is there and has its digest'
content\t'The same, and every entry unpacks to the content that the catalog says'"
complete -c strongroom -n "__fish_strongroom_using_subcommand verify" -l sample -d 'Check only a part of at most this share, `5%`: the next one at each run, until all were checked' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand verify" -l pipeline -d 'Only backups made by this pipeline' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand verify" -l target -d 'Look only in this target. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand verify" -l identity -d 'The file with the age identity that opens the backup, instead of what the environment says' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand verify" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand verify" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand verify" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand verify" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand verify" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand verify" -l trust-unsigned -d 'Use a backup although none of the environment\'s signers made it'
complete -c strongroom -n "__fish_strongroom_using_subcommand verify" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand verify" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand verify" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand verify" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand verify" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand retention" -l policy -d 'Try these rules, `keep-daily=7,keep-within=2m`. Default: those of the pipeline\'s `retain` steps' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand retention" -l times -d 'Apply the rules to the times in FILE instead of to backups: one RFC 3339 time a line, `-` for standard input' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand retention" -l at -d 'Take TIME (RFC 3339) for the present moment' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand retention" -l pipeline -d 'The pipeline whose backups and rules are looked at. Default: `backup`; with `--policy` the backups of all' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand retention" -l set -d 'Set one value of the pipeline first, `step.retention.keep-daily=30`. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand retention" -l target -d 'Look only in this target. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand retention" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand retention" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand retention" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand retention" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand retention" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand retention" -l guards -d 'With `--times`: let the guards keep the newest and what is dated in the future, as they do for backups'
complete -c strongroom -n "__fish_strongroom_using_subcommand retention" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand retention" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand retention" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand retention" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand retention" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand retention" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand forget" -l pipeline -d 'Only backups made by this pipeline' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand forget" -l confirm -d 'Confirm by naming the environment, in place of typing it when asked' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand forget" -l target -d 'Remove them from this target only. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand forget" -l wait -d 'Wait this long for another `forget` to end, `10min`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand forget" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand forget" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand forget" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand forget" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand forget" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand forget" -s n -l dry-run -d 'Say what would be removed, and do nothing'
complete -c strongroom -n "__fish_strongroom_using_subcommand forget" -l purge -d 'Delete at once what only these backups needed, instead of leaving it to a later sweep. No other run may be at work'
complete -c strongroom -n "__fish_strongroom_using_subcommand forget" -l even-newest -d 'Let a backup go even if it is the newest of its pipeline and instance'
complete -c strongroom -n "__fish_strongroom_using_subcommand forget" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand forget" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand forget" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand forget" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand forget" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand forget" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand sweep" -l target -d 'Sweep only this target. Repeatable' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand sweep" -l wait -d 'Wait this long for another sweep to end, `10min`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand sweep" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand sweep" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand sweep" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand sweep" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand sweep" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand sweep" -s n -l dry-run -d 'Say what would be deleted, and do nothing'
complete -c strongroom -n "__fish_strongroom_using_subcommand sweep" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand sweep" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand sweep" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand sweep" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand sweep" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand sweep" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and not __fish_seen_subcommand_from verify show export restart" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and not __fish_seen_subcommand_from verify show export restart" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and not __fish_seen_subcommand_from verify show export restart" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and not __fish_seen_subcommand_from verify show export restart" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and not __fish_seen_subcommand_from verify show export restart" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and not __fish_seen_subcommand_from verify show export restart" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and not __fish_seen_subcommand_from verify show export restart" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and not __fish_seen_subcommand_from verify show export restart" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and not __fish_seen_subcommand_from verify show export restart" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and not __fish_seen_subcommand_from verify show export restart" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and not __fish_seen_subcommand_from verify show export restart" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and not __fish_seen_subcommand_from verify show export restart" -f -a "verify" -d 'Recompute every link of the chain and say whether it holds'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and not __fish_seen_subcommand_from verify show export restart" -f -a "show" -d 'Print records, oldest first'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and not __fish_seen_subcommand_from verify show export restart" -f -a "export" -d 'Print records as they stand in the journal, a line a record, so that their hashes can be computed again'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and not __fish_seen_subcommand_from verify show export restart" -f -a "restart" -d 'Begin a new journal where the old one is broken; the old one is moved aside whole'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from verify" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from verify" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from verify" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from verify" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from verify" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from verify" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from verify" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from verify" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from verify" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from verify" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from show" -l run -d 'Only records of this run' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from show" -l last -d 'Only the last COUNT records' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from show" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from show" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from show" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from show" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from show" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from show" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from show" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from show" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from show" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from export" -l run -d 'Only records of this run' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from export" -l since -d 'Only records of TIME (RFC 3339) or later' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from export" -l until -d 'Only records of TIME (RFC 3339) or earlier' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from export" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from export" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from export" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from export" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from export" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from export" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from export" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from export" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from export" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from export" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from restart" -l confirm -d 'Confirm by naming the environment, in place of typing it when asked' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from restart" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from restart" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from restart" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from restart" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from restart" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from restart" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from restart" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from restart" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from restart" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from restart" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand journal; and __fish_seen_subcommand_from restart" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and not __fish_seen_subcommand_from new show add rotate" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and not __fish_seen_subcommand_from new show add rotate" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and not __fish_seen_subcommand_from new show add rotate" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and not __fish_seen_subcommand_from new show add rotate" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and not __fish_seen_subcommand_from new show add rotate" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and not __fish_seen_subcommand_from new show add rotate" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and not __fish_seen_subcommand_from new show add rotate" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and not __fish_seen_subcommand_from new show add rotate" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and not __fish_seen_subcommand_from new show add rotate" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and not __fish_seen_subcommand_from new show add rotate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and not __fish_seen_subcommand_from new show add rotate" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and not __fish_seen_subcommand_from new show add rotate" -f -a "new" -d 'Make an identity that opens backups; its recipient is printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and not __fish_seen_subcommand_from new show add rotate" -f -a "show" -d 'Show the key that this host signs with and the epochs that backups are sealed in'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and not __fish_seen_subcommand_from new show add rotate" -f -a "add" -d 'Let every recipient that the environment names open the backups there are'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and not __fish_seen_subcommand_from new show add rotate" -f -a "rotate" -d 'Begin a new epoch: the next backup stores everything anew, for the recipients of now alone'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from new" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from new" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from new" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from new" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from new" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from new" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from new" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from new" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from new" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from new" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from new" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from show" -l identity -d 'Say which of them this identity opens' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from show" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from show" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from show" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from show" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from show" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from show" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from show" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from show" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from show" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from add" -l identity -d 'A file with an identity that opens them, instead of what the environment says' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from add" -l confirm -d 'Confirm by naming the environment, in place of typing it when asked' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from add" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from add" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from add" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from add" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from add" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from add" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from add" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from add" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from add" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from add" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l confirm -d 'Confirm by naming the environment, in place of typing it when asked' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from rotate" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from rotate" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from rotate" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from rotate" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from rotate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand keys; and __fish_seen_subcommand_from rotate" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand explain-error" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand explain-error" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand explain-error" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand explain-error" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand explain-error" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand explain-error" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand explain-error" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand explain-error" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand explain-error" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand explain-error" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand explain-error" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand completions" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand completions" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand completions" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand completions" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand completions" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand completions" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand completions" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand completions" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand completions" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand completions" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand man" -l out -d 'Write one page for each verb into this folder' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand man" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand man" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand man" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand man" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand man" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand man" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand man" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand man" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand man" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand man" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand man" -s V -l version -d 'Print version'
complete -c strongroom -n "__fish_strongroom_using_subcommand generate" -s e -l env -d 'The environment: a file `pipelines/environments/<ENV>.toml`' -r
complete -c strongroom -n "__fish_strongroom_using_subcommand generate" -l project -d 'The project folder. Default: the nearest folder at or above the current one that has `pipelines/`' -r -f -a "(__fish_complete_directories)"
complete -c strongroom -n "__fish_strongroom_using_subcommand generate" -l format -d 'How the result is written' -r -f -a "human\t'For people: the result on the standard output, problems on the standard error'
json\t'For programs: one JSON document'"
complete -c strongroom -n "__fish_strongroom_using_subcommand generate" -s o -l output -d 'Write the result to FILE (replaced as a whole) instead of the standard output' -r -F
complete -c strongroom -n "__fish_strongroom_using_subcommand generate" -l color -d 'When to use colour. `auto` asks the terminal and `NO_COLOR`' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c strongroom -n "__fish_strongroom_using_subcommand generate" -l check -d 'Write nothing; fail when a file differs from what would be written'
complete -c strongroom -n "__fish_strongroom_using_subcommand generate" -l json -d 'Print one JSON document; the same as `--format json`'
complete -c strongroom -n "__fish_strongroom_using_subcommand generate" -s q -l quiet -d 'No progress, and no summary of a run that has nothing to report; problems are still printed'
complete -c strongroom -n "__fish_strongroom_using_subcommand generate" -s v -l verbose -d 'Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters'
complete -c strongroom -n "__fish_strongroom_using_subcommand generate" -l no-progress -d 'No moving progress display; one plain line a step instead'
complete -c strongroom -n "__fish_strongroom_using_subcommand generate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c strongroom -n "__fish_strongroom_using_subcommand generate" -s V -l version -d 'Print version'
