#include "net/option.h"

#include <stddef.h>

#define INT 4

/* Sorted by level and name as the manual pages list them; numbers of asm-generic/socket.h, linux/tcp.h, linux/in.h,
 * linux/in6.h, linux/udp.h. Left out on purpose: what takes pointers (filters), what changes other programs' traffic
 * or needs privileges of the host (SO_MARK, *BUFFORCE, TCP_REPAIR, IP_TRANSPARENT), what maps memory (zero copy), what
 * sends packets elsewhere than to the address that rules.c looks at (source routes: setting IP_OPTIONS, IPV6_RTHDR). */
static const struct option g_options[] = {
    { 1, 1, INT, OPTION_BOTH },    /* SO_DEBUG */
    { 1, 2, INT, OPTION_BOTH },    /* SO_REUSEADDR */
    { 1, 3, INT, OPTION_OURS },    /* SO_TYPE */
    { 1, 4, INT, OPTION_GET },     /* SO_ERROR */
    { 1, 5, INT, OPTION_BOTH },    /* SO_DONTROUTE */
    { 1, 6, INT, OPTION_BOTH },    /* SO_BROADCAST */
    { 1, 7, INT, OPTION_BOTH },    /* SO_SNDBUF */
    { 1, 8, INT, OPTION_BOTH },    /* SO_RCVBUF */
    { 1, 9, INT, OPTION_BOTH },    /* SO_KEEPALIVE */
    { 1, 10, INT, OPTION_BOTH },   /* SO_OOBINLINE */
    { 1, 11, INT, OPTION_BOTH },   /* SO_NO_CHECK */
    { 1, 12, INT, OPTION_BOTH },   /* SO_PRIORITY */
    { 1, 13, 8, OPTION_BOTH },     /* SO_LINGER */
    { 1, 15, INT, OPTION_BOTH },   /* SO_REUSEPORT */
    { 1, 17, 12, OPTION_OURS },    /* SO_PEERCRED: nobody's */
    { 1, 18, INT, OPTION_BOTH },   /* SO_RCVLOWAT */
    { 1, 19, INT, OPTION_GET },    /* SO_SNDLOWAT */
    { 1, 20, 16, OPTION_OURS },    /* SO_RCVTIMEO */
    { 1, 21, 16, OPTION_OURS },    /* SO_SNDTIMEO */
    { 1, 25, 16, OPTION_BOTH },    /* SO_BINDTODEVICE */
    { 1, 29, INT, OPTION_BOTH },   /* SO_TIMESTAMP */
    { 1, 30, INT, OPTION_GET },    /* SO_ACCEPTCONN */
    { 1, 35, INT, OPTION_BOTH },   /* SO_TIMESTAMPNS */
    { 1, 38, INT, OPTION_OURS },   /* SO_PROTOCOL */
    { 1, 39, INT, OPTION_OURS },   /* SO_DOMAIN */
    { 1, 40, INT, OPTION_BOTH },   /* SO_RXQ_OVFL */
    { 1, 42, INT, OPTION_BOTH },   /* SO_PEEK_OFF */
    { 1, 46, INT, OPTION_BOTH },   /* SO_BUSY_POLL */
    { 1, 49, INT, OPTION_BOTH },   /* SO_INCOMING_CPU */
    { 1, 56, INT, OPTION_GET },    /* SO_INCOMING_NAPI_ID */
    { 6, 1, INT, OPTION_BOTH },    /* TCP_NODELAY */
    { 6, 2, INT, OPTION_BOTH },    /* TCP_MAXSEG */
    { 6, 3, INT, OPTION_BOTH },    /* TCP_CORK */
    { 6, 4, INT, OPTION_BOTH },    /* TCP_KEEPIDLE */
    { 6, 5, INT, OPTION_BOTH },    /* TCP_KEEPINTVL */
    { 6, 6, INT, OPTION_BOTH },    /* TCP_KEEPCNT */
    { 6, 7, INT, OPTION_BOTH },    /* TCP_SYNCNT */
    { 6, 8, INT, OPTION_BOTH },    /* TCP_LINGER2 */
    { 6, 9, INT, OPTION_BOTH },    /* TCP_DEFER_ACCEPT */
    { 6, 10, INT, OPTION_BOTH },   /* TCP_WINDOW_CLAMP */
    { 6, 11, 256, OPTION_GET },    /* TCP_INFO */
    { 6, 12, INT, OPTION_BOTH },   /* TCP_QUICKACK */
    { 6, 13, 16, OPTION_BOTH },    /* TCP_CONGESTION */
    { 6, 16, INT, OPTION_BOTH },   /* TCP_THIN_LINEAR_TIMEOUTS */
    { 6, 17, INT, OPTION_BOTH },   /* TCP_THIN_DUPACK */
    { 6, 18, INT, OPTION_BOTH },   /* TCP_USER_TIMEOUT */
    { 6, 23, INT, OPTION_BOTH },   /* TCP_FASTOPEN */
    { 6, 24, INT, OPTION_BOTH },   /* TCP_TIMESTAMP */
    { 6, 25, INT, OPTION_BOTH },   /* TCP_NOTSENT_LOWAT */
    { 6, 27, INT, OPTION_BOTH },   /* TCP_SAVE_SYN */
    { 6, 30, INT, OPTION_BOTH },   /* TCP_FASTOPEN_CONNECT */
    { 6, 34, INT, OPTION_BOTH },   /* TCP_FASTOPEN_NO_COOKIE */
    { 6, 36, INT, OPTION_BOTH },   /* TCP_INQ */
    { 6, 37, INT, OPTION_BOTH },   /* TCP_TX_DELAY */
    { 0, 1, INT, OPTION_BOTH },    /* IP_TOS */
    { 0, 2, INT, OPTION_BOTH },    /* IP_TTL */
    { 0, 4, 40, OPTION_GET },      /* IP_OPTIONS */
    { 0, 6, INT, OPTION_BOTH },    /* IP_RECVOPTS */
    { 0, 7, INT, OPTION_BOTH },    /* IP_RETOPTS */
    { 0, 8, INT, OPTION_BOTH },    /* IP_PKTINFO */
    { 0, 10, INT, OPTION_BOTH },   /* IP_MTU_DISCOVER */
    { 0, 11, INT, OPTION_BOTH },   /* IP_RECVERR */
    { 0, 12, INT, OPTION_BOTH },   /* IP_RECVTTL */
    { 0, 13, INT, OPTION_BOTH },   /* IP_RECVTOS */
    { 0, 14, INT, OPTION_GET },    /* IP_MTU */
    { 0, 15, INT, OPTION_BOTH },   /* IP_FREEBIND */
    { 0, 20, INT, OPTION_BOTH },   /* IP_RECVORIGDSTADDR */
    { 0, 21, INT, OPTION_BOTH },   /* IP_MINTTL */
    { 0, 24, INT, OPTION_BOTH },   /* IP_BIND_ADDRESS_NO_PORT */
    { 0, 32, 12, OPTION_BOTH },    /* IP_MULTICAST_IF */
    { 0, 33, INT, OPTION_BOTH },   /* IP_MULTICAST_TTL */
    { 0, 34, INT, OPTION_BOTH },   /* IP_MULTICAST_LOOP */
    { 0, 35, 12, OPTION_SET },     /* IP_ADD_MEMBERSHIP */
    { 0, 36, 12, OPTION_SET },     /* IP_DROP_MEMBERSHIP */
    { 0, 37, 12, OPTION_SET },     /* IP_UNBLOCK_SOURCE */
    { 0, 38, 12, OPTION_SET },     /* IP_BLOCK_SOURCE */
    { 0, 39, 12, OPTION_SET },     /* IP_ADD_SOURCE_MEMBERSHIP */
    { 0, 40, 12, OPTION_SET },     /* IP_DROP_SOURCE_MEMBERSHIP */
    { 0, 49, INT, OPTION_BOTH },   /* IP_MULTICAST_ALL */
    { 0, 50, INT, OPTION_BOTH },   /* IP_UNICAST_IF */
    { 41, 16, INT, OPTION_BOTH },  /* IPV6_UNICAST_HOPS */
    { 41, 17, INT, OPTION_BOTH },  /* IPV6_MULTICAST_IF */
    { 41, 18, INT, OPTION_BOTH },  /* IPV6_MULTICAST_HOPS */
    { 41, 19, INT, OPTION_BOTH },  /* IPV6_MULTICAST_LOOP */
    { 41, 20, 20, OPTION_SET },    /* IPV6_JOIN_GROUP */
    { 41, 21, 20, OPTION_SET },    /* IPV6_LEAVE_GROUP */
    { 41, 23, INT, OPTION_BOTH },  /* IPV6_MTU_DISCOVER */
    { 41, 24, INT, OPTION_BOTH },  /* IPV6_MTU */
    { 41, 25, INT, OPTION_BOTH },  /* IPV6_RECVERR */
    { 41, 26, INT, OPTION_BOTH },  /* IPV6_V6ONLY */
    { 41, 49, INT, OPTION_BOTH },  /* IPV6_RECVPKTINFO */
    { 41, 50, 20, OPTION_BOTH },   /* IPV6_PKTINFO */
    { 41, 51, INT, OPTION_BOTH },  /* IPV6_RECVHOPLIMIT */
    { 41, 53, INT, OPTION_BOTH },  /* IPV6_RECVHOPOPTS */
    { 41, 56, INT, OPTION_BOTH },  /* IPV6_RECVRTHDR */
    { 41, 58, INT, OPTION_BOTH },  /* IPV6_RECVDSTOPTS */
    { 41, 60, INT, OPTION_BOTH },  /* IPV6_RECVPATHMTU */
    { 41, 61, 32, OPTION_GET },    /* IPV6_PATHMTU */
    { 41, 62, INT, OPTION_BOTH },  /* IPV6_DONTFRAG */
    { 41, 66, INT, OPTION_BOTH },  /* IPV6_RECVTCLASS */
    { 41, 67, INT, OPTION_BOTH },  /* IPV6_TCLASS */
    { 41, 70, INT, OPTION_BOTH },  /* IPV6_AUTOFLOWLABEL */
    { 41, 78, INT, OPTION_BOTH },  /* IPV6_FREEBIND */
    { 17, 1, INT, OPTION_BOTH },   /* UDP_CORK */
    { 17, 103, INT, OPTION_BOTH }, /* UDP_SEGMENT */
    { 17, 104, INT, OPTION_BOTH }, /* UDP_GRO */
    { 136, 10, INT, OPTION_BOTH }, /* UDPLITE_SEND_CSCOV */
    { 136, 11, INT, OPTION_BOTH }, /* UDPLITE_RECV_CSCOV */
};

const struct option *option_find(int level, int name)
{
    for (uint32_t i = 0; i < sizeof(g_options) / sizeof(g_options[0]); i++)
        if (g_options[i].level == level && g_options[i].name == name)
            return &g_options[i];
    return NULL;
}
