"""bash: process substitution by /dev/fd, here documents of both sizes, coproc, descriptors by number."""
import subprocess

SCRIPT = r"""
cat <(echo hi) <(echo there)
cat <<EOF
here document $1
EOF
diff <(printf 'a\nb\n') <(printf 'a\nc\n')
x=$(cat <<END
$(seq 1 20000)
END
)
echo ${#x}
while read -r line; do echo "got $line"; done < <(printf '1\n2\n')
exec 5> >(tr a-z A-Z)
echo five >&5
exec 5>&-
wait $!
cat <<< "a string"
coproc { read -r line; echo "coproc $line"; }
echo in >&"${COPROC[1]}"
read -r line <&"${COPROC[0]}"
echo "$line"
paste -d, <(seq 3) <(seq 4 6) | tee >(wc -l >&2) | tail -n 1
echo done | cat - /dev/fd/3 3<<< third
"""
p = subprocess.run(["bash", "-c", SCRIPT, "bash", "one"], capture_output=True, text=True)
print(p.stdout, p.stderr, p.returncode)
