#!/usr/bin/env bash
# SLURM on this machine alone, for tests: its own munged, slurmctld and slurmd with everything in
# one folder, as any user. Needs Debian's packages slurm-wlm and munge, or their like elsewhere.
#
#   tests/cluster/slurm.sh start DIR   # then: export SLURM_CONF=DIR/slurm.conf
#   tests/cluster/slurm.sh stop DIR
#
# The queue "low" is the default. A job of the queue "high" takes the place of those in "low",
# which are told to stop, and are queued again. With SIGTERM_ONLY=1 they get no signal of their own,
# as on a cluster that does not set preempt_send_user_signal.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

start() {
    local dir=$1 host user ports told=preempt_send_user_signal
    [ -z "${SIGTERM_ONLY:-}" ] || told=enable_configless
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    chmod 700 "$dir"
    mkdir -p "$dir/state" "$dir/spool"
    host=$(hostname -s)
    user=$(id -un)
    # Free ports, so that several of these may run beside each other.
    ports=($(python3 - <<'PYTHON'
import socket
sockets = [socket.socket() for _ in range(2)]
for one in sockets:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in sockets))
PYTHON
    ))
    (umask 077 && head -c 1024 /dev/urandom > "$dir/munge.key")
    munged --force --key-file="$dir/munge.key" --socket="$dir/munge.socket" \
        --pid-file="$dir/munged.pid" --log-file="$dir/munged.log" --seed-file="$dir/munge.seed"

    cat > "$dir/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmdPort=${ports[1]}
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
# Credentials that expire soon let a job that was queued again start soon.
AuthInfo=socket=$dir/munge.socket,cred_expire=5
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=$told
# As many CPUs as a test needs, whatever the machine has.
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=3
MinJobAge=600
InactiveLimit=0
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=low Nodes=$host Default=YES PriorityTier=1 GraceTime=8 State=UP
PartitionName=high Nodes=$host PriorityTier=2 PreemptMode=off State=UP
CONF
    export SLURM_CONF=$dir/slurm.conf
    slurmctld
    slurmd
    for _ in $(seq 100); do
        if [ "$(sinfo --noheader --partition=low --format=%T 2>/dev/null)" = idle ]; then
            return
        fi
        sleep 0.2
    done
    echo "SLURM did not start, see $dir/*.log" >&2
    tail -n 5 "$dir"/*.log >&2
    stop "$dir"
    exit 1
}

stop() {
    local dir=$1 name
    export SLURM_CONF=$dir/slurm.conf
    timeout 10 scancel --user="$(id -un)" 2>/dev/null || true
    for _ in $(seq 50); do
        [ -n "$(timeout 10 squeue --noheader 2>/dev/null)" ] || break
        sleep 0.2
    done
    for name in slurmd slurmctld munged; do
        end "$dir/$name.pid"
    done
}

# End the process whose number is in a file, and wait for it.
end() {
    local pid
    pid=$(cat "$1" 2>/dev/null) || return 0
    kill "$pid" 2>/dev/null || return 0
    for _ in $(seq 50); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -9 "$pid" 2>/dev/null || true
}

case ${1:-} in
    start | stop) "$1" "${2:?folder}" ;;
    *)
        echo "usage: $0 start|stop DIR" >&2
        exit 2
        ;;
esac
