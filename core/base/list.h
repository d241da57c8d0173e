/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one list: intrusive, circular, doubly linked. A head and a link are the same type. A link
 * that is not on a list points to itself (list_init), so that list_linked() and a second list_del()
 * are always defined.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/util.h"

struct list {
	struct list *next, *prev;
};

#define LIST_INIT(name) { &(name), &(name) }

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *head)
{
	return head->next == head;
}

/* Whether this link is on a list. */
static inline bool list_linked(const struct list *link)
{
	return link->next != link;
}

static inline void list_insert(struct list *prev, struct list *link, struct list *next)
{
	link->prev = prev;
	link->next = next;
	prev->next = link;
	next->prev = link;
}

static inline void list_push(struct list *head, struct list *link)
{
	list_insert(head->prev, link, head);
}

static inline void list_push_front(struct list *head, struct list *link)
{
	list_insert(head, link, head->next);
}

static inline void list_del(struct list *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	list_init(link);
}

/* Unlinks and returns the first link, NULL when empty. */
static inline struct list *list_pop(struct list *head)
{
	struct list *l = head->next;

	if (l == head)
		return NULL;
	list_del(l);
	return l;
}

/* Moves all of FROM to the end of TO; FROM is empty afterwards. */
static inline void list_splice(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#define list_entry(link, type, member) container_of(link, type, member)
#define list_first_entry(head, type, member) \
	(list_empty(head) ? NULL : list_entry((head)->next, type, member))
#define list_pop_entry(head, type, member) \
	(list_empty(head) ? NULL : list_entry(list_pop(head), type, member))

/* The body must not unlink POS; list_for_each_safe allows that. */
#define list_for_each(pos, head, member) \
	for (pos = list_entry((head)->next, __typeof__(*pos), member); &pos->member != (head); \
	     pos = list_entry(pos->member.next, __typeof__(*pos), member))
#define list_for_each_safe(pos, tmp, head, member) \
	for (pos = list_entry((head)->next, __typeof__(*pos), member), \
	     tmp = list_entry(pos->member.next, __typeof__(*pos), member); &pos->member != (head); \
	     pos = tmp, tmp = list_entry(tmp->member.next, __typeof__(*tmp), member))

#endif
