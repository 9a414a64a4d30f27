#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/dist_info.h"
#include "util/fs.h"

static const struct {
    const char *folder, *record;
} there[] = {
    { "numpy-1.24.2.dist-info", "numpy/__init__.py,sha256=abc,1\n../../../bin/f2py,,\n" },
    { "Foo_Bar.baz-1.dist-info", "\"a,b\"\"c.py\",,\r\nd.py\r\n\n" },
    { "broken-1.dist-info", "\"never closed\n" },
    { "empty_field-1.dist-info", ",sha256=x,1\n" },
    { "numpy_groupies-1.dist-info", "groupies.py,,\n" },
};

static const struct {
    const char *name;
    int want; /* files, or negative errno */
    const char *first;
} cases[] = {
    { "numpy", 2, "numpy/__init__.py" },
    { "NumPy", 2, "numpy/__init__.py" },
    { "foo-bar-baz", 2, "a,b\"c.py" },
    { "foo__bar_.baz", 2, "a,b\"c.py" },
    { "foobarbaz", -ENOENT, NULL },
    { "numpy-groupies", 1, "groupies.py" },
    { "num", -ENOENT, NULL },
    { "broken", -EBADMSG, NULL },
    { "empty-field", -EBADMSG, NULL },
    { "", -ENOENT, NULL },
    { "../x", -ENOENT, NULL },
};

static void test_files(void **state UNUSED)
{
    char root[] = "/tmp/sgxpy-dist-XXXXXX";
    assert_non_null(mkdtemp(root));
    for (size_t i = 0; i < ARRAY_SIZE(there); i++) {
        char path[256];
        snprintf(path, sizeof(path), "%s/%s", root, there[i].folder);
        assert_int_equal(dir_make(path, 0755, NULL), 0);
        strcat(path, "/RECORD");
        assert_int_equal(
            file_store(AT_FDCWD, path, there[i].record, strlen(there[i].record), 0644, 0, NULL), 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char **files = NULL;
        size_t count = 0;
        int r = dist_info_files(root, cases[i].name, &files, &count);
        int got = r < 0 ? r : (int)count;
        if (got != cases[i].want)
            fail_msg("'%s': got %d, want %d", cases[i].name, got, cases[i].want);
        if (r < 0)
            continue;
        char want[256];
        snprintf(want, sizeof(want), "%s/%s", root, cases[i].first);
        assert_string_equal(files[0], want);
        assert_null(files[count]);
        while (count)
            free(files[--count]);
        free(files);
    }
    assert_int_equal(tree_remove(AT_FDCWD, root, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_files) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
