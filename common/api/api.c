/*
 * api: looking up methods and messages in the generated tables.
 *
 * The tables are small (some hundreds of entries) and constant; two open-addressing indexes over them
 * are built before main(), so that a look-up on a hot path costs one probe and no lock.
 */
#include "api/api.h"

#include <assert.h>
#include <string.h>

#include "corbel/contract.gen.h"

#define SLOTS 4096u /* power of two, at least twice the entries of either kind */

static const struct api_method *methods_by_id[SLOTS];
static const struct api_message *messages_by_descriptor[SLOTS];

static size_t
descriptor_slot(const ProtobufCMessageDescriptor *descriptor)
{
	return (size_t)(((uintptr_t)descriptor >> 4) * 0x9E3779B97F4A7C15u >> 40) & (SLOTS - 1);
}

static void
index_methods(void)
{
	size_t count = 0;
	for (const struct api_service *const *service = api_services; *service; service++) {
		for (size_t i = 0; i < (*service)->method_count; i++) {
			const struct api_method *method = &(*service)->methods[i];
			size_t slot = method->id & (SLOTS - 1);
			while (methods_by_id[slot])
				slot = (slot + 1) & (SLOTS - 1);
			methods_by_id[slot] = method;
			assert(++count < SLOTS / 2);
		}
	}
}

/* Constants of the program, filled once before any thread exists. */
__attribute__((constructor)) static void
index_contract(void)
{
	assert(api_message_count < SLOTS / 2);
	for (size_t i = 0; i < api_message_count; i++) {
		size_t slot = descriptor_slot(api_messages[i]->descriptor);
		while (messages_by_descriptor[slot])
			slot = (slot + 1) & (SLOTS - 1);
		messages_by_descriptor[slot] = api_messages[i];
	}
	index_methods();
}

const struct api_method *
api_method_by_id(uint32_t id)
{
	for (size_t slot = id & (SLOTS - 1); methods_by_id[slot]; slot = (slot + 1) & (SLOTS - 1))
		if (methods_by_id[slot]->id == id)
			return methods_by_id[slot];
	return NULL;
}

const struct api_method *
api_method_by_name(const char *full_name)
{
	for (const struct api_service *const *service = api_services; *service; service++)
		for (size_t i = 0; i < (*service)->method_count; i++)
			if (strcmp((*service)->methods[i].full_name, full_name) == 0)
				return &(*service)->methods[i];
	return NULL;
}

const struct api_message *
api_message_of(const ProtobufCMessageDescriptor *descriptor)
{
	for (size_t slot = descriptor_slot(descriptor); messages_by_descriptor[slot];
	     slot = (slot + 1) & (SLOTS - 1))
		if (messages_by_descriptor[slot]->descriptor == descriptor)
			return messages_by_descriptor[slot];
	return NULL;
}

static const char *
value_doc(const struct api_enum *entry, int number)
{
	for (size_t i = 0; i < entry->value_count; i++)
		if (entry->values[i].number == number)
			return entry->values[i].doc;
	return "";
}

const char *
api_enum_doc(const ProtobufCEnumDescriptor *descriptor, int number)
{
	for (const struct api_enum *const *entry = api_enums; *entry; entry++)
		if ((*entry)->descriptor == descriptor)
			return value_doc(*entry, number);
	return "";
}
