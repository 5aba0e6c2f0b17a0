/*
 * Intrusive doubly linked list: a node sits inside the thing it links, the list owns nothing.
 * A node not in any list points at itself, so removing it twice is harmless.
 */
#ifndef PERIGEE_BASE_LIST_H
#define PERIGEE_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next;
	struct list *previous;
};

#define LIST_ENTRY(node, type, field) ((type *)(void *)((char *)(node)-offsetof(type, field)))

/* Walks node by node; `node` may be removed inside the body. */
#define LIST_EACH(node, head)                                                                      \
	for (struct list *node = (head)->next, *node##_next = node->next; node != (head);          \
		node = node##_next, node##_next = node->next)

static inline void list_init(struct list *list)
{
	list->next = list;
	list->previous = list;
}

static inline bool list_empty(const struct list *list)
{
	return list->next == list;
}

static inline void list_append(struct list *list, struct list *node)
{
	node->previous = list->previous;
	node->next = list;
	list->previous->next = node;
	list->previous = node;
}

static inline void list_remove(struct list *node)
{
	node->previous->next = node->next;
	node->next->previous = node->previous;
	list_init(node);
}

/* Takes the first node out of a list that is not empty. */
static inline struct list *list_take_first(struct list *list)
{
	struct list *first = list->next;

	list->next = first->next;
	first->next->previous = list;
	list_init(first);
	return first;
}

#endif
