%% The baseline of BenchmarkKill: an OTP supervisor that restarts a gen_server, which
%% owns a port to a cold gsi that answers a line for a line, and has nothing to restore.
%%
%% main/0 has it killed and answers in microseconds, once for each line on its input.
-module(otp).
-behaviour(gen_server).
-export([main/0, init/1, handle_call/3, handle_cast/2, handle_info/2, start_keeper/0]).

-define(AGENT, "(let loop ((n 1)) (let ((x (read))) (if (not (eof-object? x)) (begin (write n) (newline) (force-output) (loop (+ n 1))))))").

main() ->
    process_flag(trap_exit, true),
    {ok, _} = supervisor:start_link({local, top}, ?MODULE, supervisor),
    Shell = open_port({spawn_executable, "/bin/sh"},
                      [{args, ["-c", "while read p; do kill -9 $p; echo; done"]}, {line, 100}]),
    rounds(Shell).

rounds(Shell) ->
    case io:get_line("") of
        eof -> ok;
        _ ->
            io:format("~b~n", [recovery(Shell)]),
            rounds(Shell)
    end.

%% Load before the kill, as the guard has; the clock starts when the shell says that
%% the signal was sent.
recovery(Shell) ->
    [{_, _} = gen_server:call(keeper, ask) || _ <- lists:seq(1, 20)],
    {Pid, _} = gen_server:call(keeper, ask),
    port_command(Shell, [integer_to_list(Pid), "\n"]),
    receive {Shell, {data, _}} -> ok end,
    Began = erlang:monotonic_time(microsecond),
    answered(Pid),
    erlang:monotonic_time(microsecond) - Began.

answered(Dead) ->
    case catch gen_server:call(keeper, ask) of
        {Pid, _} when is_integer(Pid), Pid =/= Dead -> ok;
        _ -> erlang:yield(), answered(Dead)
    end.

init(supervisor) ->
    {ok, {#{strategy => one_for_one, intensity => 1000000, period => 1},
          [#{id => keeper, start => {?MODULE, start_keeper, []}, shutdown => brutal_kill}]}};
init(keeper) ->
    Port = open_port({spawn_executable, os:find_executable("gsi")},
                     [{args, ["-:d-", "-e", ?AGENT]}, {line, 1000}, exit_status]),
    {ok, Port}.

start_keeper() -> gen_server:start_link({local, keeper}, ?MODULE, keeper, []).

handle_call(ask, _From, Port) ->
    {os_pid, Pid} = erlang:port_info(Port, os_pid),
    port_command(Port, "x\n"),
    receive
        {Port, {data, {eol, Line}}} -> {reply, {Pid, Line}, Port};
        {Port, {exit_status, Status}} -> {stop, {exited, Status}, Port}
    end.

handle_cast(_, Port) -> {noreply, Port}.

handle_info({Port, {exit_status, Status}}, Port) -> {stop, {exited, Status}, Port};
handle_info(_, Port) -> {noreply, Port}.
