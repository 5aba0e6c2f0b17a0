local accept = require "perigee.accept"

describe("accept.choose", function()
  local offered = { "text/plain", "text/html", "application/json" }
  local cases = {
    { nil, "text/plain" }, { "", "text/plain" }, { "*/*", "text/plain" }, { "image/png", "text/plain" },
    { "application/json", "application/json" },
    { "text/*;q=0.3, application/json;q=0.4", "application/json" },
    { "text/html, */*;q=0.8", "text/html" }, { "TEXT/HTML;Q=1", "text/html" },
    { "text/html;q=0, */*;q=0.1", "text/plain" }, { "text/plain;q=0, text/*;q=0.5", "text/html" },
    { "text/html;q=bad, application/json;q=0.1", "application/json" }, { ",,;;,", "text/plain" },
    { "application/json;q=1.5, text/html;q=0.1", "text/html" },
  }
  for _, case in ipairs(cases) do
    it(("of %s is %s"):format(tostring(case[1]), case[2]), function()
      assert.equal(case[2], accept.choose(case[1], offered))
    end)
  end
end)
