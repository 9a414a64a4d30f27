#include "tree/hints.h"

#include <stdbool.h>
#include <stddef.h>

#include "arch/string.h"
#include "tree/attest.h"
#include "tree/channel.h"

/* Our measurement's list; NULL: there is none, or no place. */
static volatile struct tree_hints *list(bool make)
{
    if (!tree_region())
        return NULL;
    uint64_t key;
    memcpy(&key, attest_mrenclave(), sizeof(key));
    key |= 1;
    volatile struct tree_hints *all = (volatile struct tree_hints *)(tree_region() + TREE_HINTS_AT);
    for (uint64_t i = 0; i < TREE_HINTS; i++) {
        volatile struct tree_hints *h = &all[(key + i) % TREE_HINTS];
        uint64_t taken = h->key;
        if (!taken && make)
            h->key = taken = key;
        if (taken == key)
            return h;
        if (!taken)
            return NULL;
    }
    return NULL;
}

void hints_add(uint64_t page)
{
    volatile struct tree_hints *h = list(true);
    uint64_t count = h ? h->count : TREE_HINT_PAGES;
    if (count >= TREE_HINT_PAGES)
        return;
    for (uint64_t i = 0; i < count; i++)
        if (h->pages[i] == page)
            return;
    /* Two processes at once: one of the two pages is lost, and comes again. */
    h->pages[count] = page;
    h->count = count + 1;
}

uint32_t hints_get(uint64_t ret[static TREE_HINT_PAGES])
{
    const volatile struct tree_hints *h = list(false);
    uint64_t count = h ? h->count : 0;
    if (count > TREE_HINT_PAGES)
        count = TREE_HINT_PAGES;
    for (uint64_t i = 0; i < count; i++)
        ret[i] = h->pages[i];
    return (uint32_t)count;
}
