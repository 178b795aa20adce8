# shellcheck shell=sh disable=SC2154
# The stages of ./check, one function each, run in $root, the checkout, with $jobs processors.
# Outputs go to $results. A stage fails by its exit code; 77 means that it could not run here.

# The words go to the summary, behind the stage's name.
note() { printf '%s' "$*" >"$results/$stage.note"; }

# The tests that open our files with other programs need numpy and safetensors.
set_up_python() {
    NACRE_PYTHON=''
    if python3 -c 'import numpy, safetensors' 2>/dev/null; then
        NACRE_PYTHON=$(command -v python3)
        return
    fi
    venv=$root/build/venv
    if ! "$venv/bin/python" -c 'import numpy, safetensors' 2>/dev/null; then
        { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet numpy safetensors; } \
            >"$results/python.log" 2>&1 ||
            say "numpy and safetensors could not be installed ($results/python.log): the tests in Python do not run."
    fi
    if "$venv/bin/python" -c 'import numpy, safetensors' 2>/dev/null; then
        NACRE_PYTHON=$venv/bin/python
    fi
}

# build PRESET [CMAKE_ARGUMENT...]
build() {
    preset=$1
    shift
    cmake --preset "$preset" -DNACRE_WERROR=ON -DNACRE_PYTHON="$NACRE_PYTHON" "$@" &&
        cmake --build --preset "$preset" -j "$jobs"
}

# suite PRESET [CTEST_ARGUMENT...]: must run at least one test.
suite() {
    preset=$1
    shift
    ctest --preset "$preset" -j "$jobs" --no-tests=error "$@"
}

# The kernel levels of this machine, the best one last.
cpu_levels() {
    levels=portable
    case $(uname -m) in
    aarch64 | arm64) levels="$levels neon" ;;
    esac
    flags=$(sed -n '/^flags/{p;q;}' /proc/cpuinfo 2>/dev/null)
    case $flags in
    *' avx2'*) levels="$levels avx2" ;;
    esac
    case $flags in
    *' avx512vl'*) levels="$levels avx512" ;;
    esac
    echo "$levels"
}

stage_release() {
    build release || return 1
    failed=''
    levels=$(cpu_levels)
    for level in $levels; do
        echo "==== tests at level $level"
        # Every benchmark against the reference takes long: at the best level, under asan and for the coverage.
        case " $levels" in
        *" $level") set -- ;;
        *) set -- -E '^cli/bench$' ;;
        esac
        NACRE_ISA=$level suite release "$@" >"$results/suite-$level.log" 2>&1 ||
            failed="$failed $level"
        cat "$results/suite-$level.log"
        # The best level comes last: what .ci/run shows.
        cp "$results/suite-$level.log" "$results/suite.log"
    done
    note "tests at $levels${failed:+, failed at$failed}"
    [ -z "$failed" ]
}

# The data sets are gzipped, which this build does not read: the tests draw digits or skip.
stage_minimal() { build minimal && (unset NACRE_DATA && suite minimal -E '^cli/bench$'); }
stage_clang() { build clang && suite clang -E '^cli/bench$'; }

stage_asan() {
    build asan || return 1
    export NACRE_TESTS_QUICK=1
    failed=''
    # The examples run nothing that the tests do not. At the other levels: what drives the kernels to their edges.
    levels=$(cpu_levels)
    for level in $levels; do
        case " $levels" in
        *" $level") set -- -LE '^example$' ;;
        *) set -- -L '^backend$' ;;
        esac
        echo "==== tests at level $level"
        NACRE_ISA=$level suite asan "$@" || failed="$failed $level"
    done
    [ -z "$failed" ] || {
        note "failed at:$failed"
        return 1
    }
}

stage_tsan() {
    build tsan || return 1
    # ThreadSanitizer's fixed memory layout does not bear a kernel that randomises addresses too far.
    printf 'int main(void) { return 0; }\n' >"$results/tsan.c"
    $(c_compiler) -fsanitize=thread "$results/tsan.c" -o "$results/tsan-works" || return 1
    fixed=''
    for _ in 1 2 3 4 5; do
        "$results/tsan-works" >/dev/null 2>&1 || fixed="setarch $(uname -m) -R"
    done
    if [ -n "$fixed" ] && ! $fixed "$results/tsan-works"; then
        echo 'ThreadSanitizer does not run here; try: sysctl vm.mmap_rnd_bits=28'
        return 1
    fi
    # The program and the examples add no thread of their own to the library's, and run a hundred times slower here.
    $fixed ctest --preset tsan -j "$jobs" --no-tests=error -LE '^(cli|example)$'
}

stage_coverage() {
    build coverage || return 1
    find build/coverage -name '*.gcda' -exec rm {} +
    # These run what others do, for minutes.
    (export NACRE_TESTS_QUICK=1 && suite coverage -LE '^example$' -E '^(cli/output_folder|train/(models|reference))$') || return 1
    scripts/coverage build/coverage || return 1
    note "$(sed -n 's/^lines: \([0-9.]*%\).*/\1 of the lines/p' "$results/coverage.log")"
}

stage_neon() {
    if ! present arm-compiler || ! present qemu; then
        note 'no compiler for Arm or no qemu-user'
        return 77
    fi
    if ! scripts/arm-libraries; then
        note 'no cmocka for Arm'
        return 77
    fi
    # The program, the examples, the large networks and runs on the real data take many minutes when emulated, and drive the same
    # library as the tests that stay.
    build neon && (unset NACRE_DATA && suite neon -LE '^(cli|example)$' -E '^train/models$')
}

stage_tidy() { scripts/check-tidy "$jobs"; }
stage_format() { scripts/check-format; }
stage_includes() { scripts/check-includes; }

stage_fuzz() {
    build fuzz || return 1
    failed=''
    count=0
    for source in fuzz/*.c; do
        name=$(basename "$source" .c)
        count=$((count + 1))
        echo "==== $name"
        mkdir -p "build/fuzz/corpus/$name"
        set -- "build/fuzz/corpus/$name"
        if [ -d "fuzz/corpus/$name" ]; then set -- "$@" "fuzz/corpus/$name"; fi
        "build/fuzz/fuzz/$name" -max_total_time=20 -timeout=10 -rss_limit_mb=1024 \
            -artifact_prefix="build/fuzz/$name-" "$@" >"$results/fuzz-$name.log" 2>&1 ||
            failed="$failed $name"
        # Without the words that it found useful, which would hide the failure.
        grep -v '# Uses:' "$results/fuzz-$name.log" | tail -n 40
    done
    for name in $failed; do # last, where the summary shows them
        echo "==== $name failed:"
        grep -v '# Uses:' "$results/fuzz-$name.log" | tail -n 60
    done
    note "$count fuzzers${failed:+, failed:$failed}"
    [ $count -gt 0 ] && [ -z "$failed" ]
}

# One training run: recipe, seed, least test accuracy, flags for the data. 77: no real data after all.
train_mnist() {
    recipe=$1 seed=$2 least=$3
    shift 3
    result=$results/$recipe-$seed.json
    build/release/nacre train "$recipe" "$@" --seed "$seed" --out "$results/$recipe-run-$seed" --json \
        >"$result" || return 1
    cat "$result"
    if ! grep -q '"data": *"mnist"' "$result"; then
        note 'the download failed'
        return 77
    fi
    accuracy=$(sed -n 's/.*"test_accuracy": *\([0-9.]*\).*/\1/p' "$result")
    reached="${reached:+$reached, }$recipe $accuracy (seed $seed)"
    note "test accuracy: $reached"
    awk -v accuracy="$accuracy" -v least="$least" 'BEGIN { exit !(accuracy >= least) }'
}

stage_mnist() {
    if [ -n "${NACRE_DATA:-}" ]; then
        set -- --data "$NACRE_DATA"
    elif [ "${CI:-}" = true ]; then
        set -- # the library downloads it
    else
        note 'no data: set NACRE_DATA'
        return 77
    fi
    reached=''
    train_mnist mnist-mlp 1 0.98 "$@" || return
    for seed in 1 2 3; do train_mnist mnist-lenet "$seed" 0.989 "$@" || return; done
}

stage_docs() { scripts/check-docs build/release; }

stage_size() {
    cp build/release/libnacre.so "$results/stripped.so" && strip "$results/stripped.so" || return 1
    bytes=$(wc -c <"$results/stripped.so")
    note "libnacre.so: $((bytes)) bytes"
    [ "$bytes" -lt 3000000 ]
}

stage_scripts() {
    shellcheck quickstart check .ci/run scripts/*.sh tests/consumer/run
    grep -l '^#!/bin/sh' scripts/* | xargs shellcheck
}
