--- Percent-encoding, and application/x-www-form-urlencoded: queries and forms.
local codec = require "perigee.urlencoded_codec"

local urlencoded = {}

--- Decodes percent-escapes, once. What is no escape stays as it is, and %00 is a NUL byte, as the
--- URL standard (WHATWG, 5.1) says: queries and forms are the client's text, and never fail.
---@type fun(text: string, plus: boolean|nil): string plus: whether "+" is a space
urlencoded.decode = codec.decode

--- Name → its first value.
---@type fun(text: string): table<string, string>
urlencoded.first_values = codec.first_values

--- All values of one name, in order.
---@type fun(text: string, name: string): string[]
urlencoded.values = codec.values

--- Name → all its values, in order, and the number of pairs; reading stops at one more than `most`.
---@type fun(text: string, most: number): table<string, string[]>, number
urlencoded.all_values = codec.all_values

return urlencoded
