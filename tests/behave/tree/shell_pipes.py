"""What shells do: pipes, substitution, subshells, background jobs, here documents, redirections, wait, exit codes."""
import subprocess

SCRIPTS = [
    "echo b a c | tr ' ' '\\n' | sort",
    "seq 1 1000 | grep 7 | wc -l",
    "yes | head -n 100000 | tail -n 1 | tr y n",
    "x=$(echo inner $(echo most)); echo $x",
    "(cd /usr; pwd); pwd | grep -c /usr$",
    "for i in 1 2 3; do (echo $i; exit $i) & done | sort; wait; echo all",
    "sleep 0.01 & a=$!; (exit 7) & b=$!; wait $b; echo $?; wait $a; echo $?",
    "cat <<X\nhere $((1 + 2))\nX",
    "exec 3>&1; echo to three >&3; echo lost 2>&1 >/dev/null",
    "{ echo one; echo two >&2; } 2>&1 | sort -r",
    "false | true; echo $?; true | false; echo $?; ! true; echo $?",
    "sh -c 'exit 42'; echo $?; sh -c 'kill -9 $$'; echo $?",
    "trap 'echo bye' EXIT; echo hello",
    "echo file > /tmp/sgxpy-shell-$$; cat < /tmp/sgxpy-shell-$$; wc -c < /tmp/sgxpy-shell-$$; rm /tmp/sgxpy-shell-$$",
    "if [ -e /etc/passwd ] && ! [ -e /etc/no-such ]; then echo tests; fi",
    "seq 1 5 | while read n; do echo $((n * n)); done | paste -s -d +",
    "seq 1 20000 | sort -rn | sort -n | tail -n 1",
    "seq 3 | xargs -n 1 echo item; printf 'a\\0b\\0' | xargs -0 echo",
    "find /usr/share/zoneinfo/Etc -name 'GMT+*' | wc -l",
    "awk 'BEGIN { \"echo from awk\" | getline x; print x; close(\"x\") }'",
    "head -c 300000 /dev/zero | tee /dev/null | wc -c",
    "command -v sort; type cd; ulimit -n 64; ulimit -n",
    "set -e; (true); false; echo not reached",
    "exec echo replaced",
]
for script in SCRIPTS:
    done = subprocess.run(["sh", "-c", script], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True)
    print(script.splitlines()[0], "->", done.returncode, done.stdout.split("\n"), done.stderr.strip())
